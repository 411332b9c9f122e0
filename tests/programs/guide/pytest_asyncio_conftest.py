import ioring


def pytest_asyncio_loop_factories(config, item):
    return {"ioring": ioring.new_event_loop}
