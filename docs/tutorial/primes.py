"""Counts primes in pieces. docs/WORKER_TUTORIAL.md explains it."""

from lastlight import Permanent, Worker

worker = Worker(queue="numbers")


@worker.handler("split", timeout=10)
def split(params):
    below, pieces = params["below"], params["pieces"]
    if not 1 <= pieces <= below:
        raise Permanent(f"pieces must be 1 to {below}, not {pieces}")
    ends = [below * number // pieces for number in range(pieces + 1)]
    return [{"first": first, "end": end} for first, end in zip(ends, ends[1:])]


@worker.handler("count_primes", timeout=600, memory_limit="256MiB")
def count_primes(params, context):
    first, end = params["first"], params["end"]
    print(f"looks at {first} to {end}")
    found = 0
    for number in range(first, end):
        if number % 1000 == 0:
            context.progress((number - first) / (end - first), f"at {number}")
        found += is_prime(number)
    return found


def is_prime(number):
    if number < 4 or number % 2 == 0:
        return number in (2, 3)
    return all(number % divisor for divisor in range(3, int(number**0.5) + 1, 2))
