"""A NotifyRelay server, as the package `notifyrelay` 0.1.0 expects it, on a `ScriptedServer`."""

import json
import ssl
import threading
from typing import Any, Dict, List, Optional

from scripted_server import PATIENCE_SEC, Answer, Request, ScriptedServer, as_json, ok

TOPIC = "runpack_notifications"
POLL = "POST /poll"

SUBSCRIBE_KEY = "subscribe-key-9c2d"
PUBLISH_KEY = "publish-key-77aa"


def environ_for(url: str) -> Dict[str, str]:
    """Return the variables of a runner that subscribes at a URL."""
    return {
        "NOTIFY_RELAY_BASE_URL": url,
        "NOTIFY_RELAY_SUBSCRIBE_KEY": SUBSCRIBE_KEY,
        "NOTIFY_RELAY_SUBSCRIBE_ID": "lab-1",
    }


class RelayServer(ScriptedServer):
    """Holds each poll until a message of its topics is published, or its time is over.

    Like every scripted server it can be told to answer otherwise; `heal` ends that.
    """

    def __init__(self, port: int = 0, tls: Optional[ssl.SSLContext] = None) -> None:
        super().__init__(port, tls)
        self._queues: Dict[str, Dict[str, List[Dict[str, str]]]] = {}
        self._published = threading.Condition()
        self._holding = 0
        self._is_over = False
        self.heal()

    @property
    def environ(self) -> Dict[str, str]:
        """The variables of a runner that subscribes here."""
        return environ_for(self.url)

    def heal(self) -> None:
        """Answer as the real one does, from now on."""
        self.on(POLL, self.poll)
        self.on("POST /publish", self._publish)

    def publish(self, message: Any, topic: str = TOPIC) -> None:
        """Publish a message; what is no string becomes JSON."""
        text = message if isinstance(message, str) else json.dumps(message)
        with self._published:
            for queue in self._queues.values():
                if topic in queue:
                    queue[topic].append({"message": text, "timestamp": "2026-11-27T00:00:00.000Z"})
            self._published.notify_all()

    def new_job(self, **fields: Any) -> None:
        """Publish a new job, as the public worker does."""
        self.publish({"type": "new_job", **fields})

    def wait_for_poll(self) -> None:
        """Wait until all that was published is fetched, and the next poll is held."""
        with self._published:
            assert self._published.wait_for(self._is_quiet, PATIENCE_SEC), self.trace()

    def __exit__(self, *exc: object) -> None:
        with self._published:
            self._is_over = True
            self._published.notify_all()
        super().__exit__(*exc)

    def poll(self, request: Request) -> Answer:
        """Answer a poll as the real one does."""
        if request.headers.get("authorization") != SUBSCRIBE_KEY:
            return as_json({"error": "Unauthorized"}, 401)
        wish = request.json
        with self._published:
            queue = self._queues.setdefault(wish["subscriber_id"], {})
            for topic in wish["topics"]:
                queue.setdefault(topic, [])
            self._holding += 1
            self._published.notify_all()
            self._published.wait_for(
                lambda: self._is_over or any(queue.values()), wish["timeout"] / 1000
            )
            self._holding -= 1
            messages = {topic: found for topic, found in queue.items() if found}
            queue.update({topic: [] for topic in messages})
        return ok(messages=messages)

    def _is_quiet(self) -> bool:
        waiting = [found for queue in self._queues.values() for found in queue.values()]
        return self._holding > 0 and not any(waiting)

    def _publish(self, request: Request) -> Answer:
        if request.headers.get("authorization") != PUBLISH_KEY:
            return as_json({"error": "Unauthorized"}, 401)
        self.publish(request.json["message"], request.json["topic"])
        return ok(success=True, messageId="1")


def answer_with(messages: Optional[List[Any]]) -> Answer:
    """Return an answer to a poll, with what stands in the place of the topic's messages."""
    return ok(messages={TOPIC: messages})
