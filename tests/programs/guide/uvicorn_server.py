import uvicorn

uvicorn.run("application:app", port=8080, loop="ioring:new_event_loop")
