from uvicorn_worker import UvicornWorker


class RingWorker(UvicornWorker):
    CONFIG_KWARGS = UvicornWorker.CONFIG_KWARGS | {"loop": "ioring:new_event_loop"}
