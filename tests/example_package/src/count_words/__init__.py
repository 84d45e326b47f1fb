"""The job type `count_words`: count the words of a text on the web."""

import urllib.request
from typing import Any, Dict

from devaria.jobs import HeartbeatCallback, JobHandler, Param


class CountWords(JobHandler):
    """Counts the words of a text on the web."""

    params = {
        "url": Param(str, "an http or https URL of a text"),
        "at_most": Param(int, "read no more than so many bytes", default=1_000_000, minimum=1),
    }

    def execute(
        self, input_params: Dict[str, Any], heartbeat_callback: HeartbeatCallback
    ) -> Dict[str, Any]:
        """Fetch the text, and count."""
        url = input_params["url"]
        if not url.startswith(("http://", "https://")):
            raise ValueError("url must be an http or https URL")
        self.log(f"Reading {url}")
        with urllib.request.urlopen(url, timeout=30) as answer:
            text = answer.read(input_params["at_most"]).decode("utf-8", "replace")
        self.progress(1, 1)
        return {"words": len(text.split())}
