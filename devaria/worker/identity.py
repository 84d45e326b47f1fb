"""When two submissions are the same job."""

import hashlib
from typing import Any, Dict

from devaria import js_json


def job_hash(job_type: str, input_params: Dict[str, Any]) -> str:
    """Give the identity of a job: equal for equal type and parameters, whatever their key order.

    Args:
        job_type: The job type.
        input_params: The parameters, as ``js_json.loads`` returned them (so that 1 and 1.0,
            ``é`` and its escape are alike already).

    Returns:
        SHA-256 in hexadecimal, over the compact JSON of both with object keys sorted at every
        depth. List order matters, null is not absent, and texts are not normalised.
    """
    text = js_json.dumps({"type": job_type, "params": input_params}, sort_keys=True)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()
