# tests/local/run.py — runs the named tests, or all; --list [FILE...] names them. Skipped: reason, status 77.
import os
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
os.environ.setdefault("MIRRORD_SOURCE_DIR", os.path.dirname(os.path.dirname(HERE)))


def all_tests(suite):
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from all_tests(test)
        else:
            yield test.id()


def main():
    loader = unittest.defaultTestLoader
    if sys.argv[1:2] == ["--list"]:
        suite = loader.loadTestsFromNames(sys.argv[2:]) if sys.argv[2:] else loader.discover(HERE)
        print("\n".join(all_tests(suite)))
        return 0
    suite = loader.loadTestsFromNames(sys.argv[1:]) if sys.argv[1:] else loader.discover(HERE)
    result = unittest.TextTestRunner(verbosity=2).run(suite)
    for _, reason in result.skipped:
        print("SKIP:", reason)
    if not result.wasSuccessful():
        return 1
    return 77 if len(result.skipped) == result.testsRun else 0


sys.exit(main())
