"""Compares how threadcast and h11 (https://h11.readthedocs.io) understand requests: whether they are accepted, and if so
their methods, targets, fields and where their bodies end. Where threadcast is stricter, differences.py says on what.

Exit code 1 when they differ in anything else; then what was sent is printed, and the seed that sends it again.
"""

import argparse
import collections
import concurrent.futures
import random
import sys

import generate
import oracle
import target

#: Statuses of requests that are refused before their target is looked at.
EDGE = {400, 413, 414, 417, 431, 501, 505}
PROBE = b"GET /topics/probe HTTP/1.1\r\nHost: x\r\nX-API-Key: " + generate.SECRET + b"\r\nConnection: close\r\n\r\n"


def main():
    arguments = parse_arguments()
    tally, failures = collections.Counter(), []
    with target.Server(arguments.server, generate.SECRET) as server:
        judge = lambda n: compare(server, case(arguments.seed, n))  # noqa: E731
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            for n, (kinds, failure) in enumerate(pool.map(judge, range(arguments.cases))):
                tally.update(kinds)
                if failure:
                    failures.append((n, failure))
    for kind, count in sorted(tally.items()):
        print(f"{count:7}  {kind}")
    for n, failure in failures[:10]:
        print(f"\ncase {n} of seed {arguments.seed}: {failure}\n  {case(arguments.seed, n)!r}", file=sys.stderr)
    print(f"{arguments.cases} cases of seed {arguments.seed}, {len(failures)} differ")
    sys.exit(bool(failures))


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--server", default="target/debug/threadcast")
    return parser.parse_args()


def case(seed, n):
    """A few requests on one connection; the last shows where the others ended."""
    rng = random.Random(f"{seed}/{n}")
    requests = [generate.request(rng, b"t%d-%d" % (n, part)) for part in range(rng.choice([1, 1, 2]))]
    return b"".join(requests) + PROBE


def compare(server, data):
    """The kinds of these requests, and the errors in their responses."""
    expected = oracle.judge(data)
    stream = server.ask(data)
    try:
        found = target.answers(stream, [one.to_head for one in expected])
    except ValueError as error:
        return [], f"the responses do not match {expected} ({error}): {stream!r}"
    kinds = []
    for n, one in enumerate(expected):
        refused = one.answer == oracle.REFUSED
        kinds += [f"refused: {rule}" for rule in one.why if not rule.startswith("h11")] or [
            "refused by both" if refused else "understood by both"
        ]
        if n >= len(found):
            return kinds, f"no response {n + 1}: expected {one}, found {found}"
        if not agrees(one, *found[n]):
            return kinds, f"response {n + 1}: expected {one}, found {found[n]}"
    extra = found[len(expected) :]
    # An incomplete request is not answered, unless it is wrong already.
    if extra and not (len(extra) == 1 and extra[0][0] in EDGE and not (expected and expected[-1].closes)):
        return kinds, f"{extra} in response to an incomplete request"
    return kinds, None


def agrees(expected, status, detail, closes):
    if expected.answer == oracle.REFUSED:
        return status in EDGE and closes
    if closes != expected.closes:
        return False
    if expected.answer == oracle.UNDERSTOOD:
        # A broken percent-encoding is found when the path is decoded.
        return status not in EDGE or (status == 400 and not closes) or detail.startswith("The target")
    wanted_status, wanted_detail = expected.answer
    return status == wanted_status and wanted_detail in (None, detail)


if __name__ == "__main__":
    main()
