from application import app
from hypercorn import Config
from hypercorn.asyncio import serve

import ioring

config = Config()
config.bind = ["127.0.0.1:8080"]
ioring.run(serve(app, config))
