"""Read an untrusted file in a confined process.

::

    opening     `open_remote`
    remote      the parent's side: the operations on a file
    arguments   checks what the caller asks for
    parent      starts the process, and ends it
    ahead       starts it before its file is known
    exchange    one request and its answer
    checks      checks everything that the process says
    child       the process itself
    landlock    gives up its rights to files, signals and the network
    seccomp     gives up system calls, those of `syscalls`
    connector   the process that opens its connections
    process_limits  its memory, its processor time, its end
    recognition what kind of file lies behind a URL
    server      answers the requests
    slots       files through which values go to the parent
"""
