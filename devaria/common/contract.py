"""The sizes and depths that the worker and its clients accept.

Every job process imports this module, so it imports nothing itself.

The parser and the writer of JSON recurse. Python's fail near 1,000 levels, and Python 3.8 may abort
the process there, so three limits stay well below that. Each leaves room for what wraps the one
before it:

- `MAX_VALUE_DEPTH`, 200: a job's parameters or its result. The runner fails a job that goes
  deeper. Honest values do not; a list that contains itself does.
- `MAX_ANSWER_DEPTH`, 400: an answer of the worker, as a client reads it. It holds such values
  inside other lists and objects. What lies deeper is read as null, so that the parameters of one
  submitter cannot make the whole answer unreadable.
- `MAX_BODY_DEPTH`, 500: a request body, as the local worker reads it. This is half of Python's
  limit, so the worker can write a value again inside an answer, and from a deeper call. JavaScript,
  and so the hosted worker, has no limit.
"""

#: The worker's limits in UTF-16 code units, inclusive. Input and output are measured as compact
#: JSON.
INPUT_LIMIT = 102_400
OUTPUT_LIMIT = 512_000
CONSOLE_LIMIT = 1_048_576
ERROR_LIMIT = 10_240

#: The limits of nesting, in levels of lists and objects, inclusive.
MAX_VALUE_DEPTH = 200
MAX_ANSWER_DEPTH = 400
MAX_BODY_DEPTH = 500
