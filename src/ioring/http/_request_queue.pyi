from ioring.http._deadlines import TimedConnection

class QueueingConnection(TimedConnection):
    def go_on(self) -> None: ...
