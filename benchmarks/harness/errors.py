"""What ends a benchmark."""


class BenchmarkFailed(Exception):
    """Something cannot be measured, or a result is not the expected one; the message is one line."""


class BadAnswer(BenchmarkFailed):
    """A server's answer is missing, or not the expected one."""
