"""FastAPI on ioring: typed parameters, JSON, and a background task.

    pip install fastapi
    ioring serve serve_fastapi:app --app-dir examples

Try it with `curl -d '{"name": "pen", "price": 2.5}' -H content-type:application/json 127.0.0.1:8000/items`.
"""

from fastapi import BackgroundTasks, FastAPI
from pydantic import BaseModel

app = FastAPI()
sold: list[str] = []


class Item(BaseModel):
    name: str
    price: float


@app.get("/")
async def hello(name: str = "world") -> dict[str, str]:
    return {"hello": name}


@app.post("/items")
async def sell(item: Item, later: BackgroundTasks) -> dict[str, float]:
    later.add_task(sold.append, item.name)
    return {"to pay": item.price}


@app.get("/sold")
def list_of_sold() -> list[str]:  # without async it runs in a thread
    return sold
