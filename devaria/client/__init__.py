"""The client of a worker's HTTP interface.

client    one method for each route
http      one HTTP exchange, and what each kind of answer means
models    the answers as typed values
follow    wait for the end of a job
"""
