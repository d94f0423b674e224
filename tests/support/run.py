# tests/support/run.py — runs the tests of a folder, the named ones or all: FOLDER [NAME...]. FOLDER --list
# [FILE...] names them. Skipped: reason, status 77.
import os
import sys
import unittest

FOLDER = os.path.abspath(sys.argv[1])
ARGUMENTS = sys.argv[2:]
sys.path.insert(0, FOLDER)
os.environ.setdefault("MIRRORD_SOURCE_DIR", os.path.dirname(os.path.dirname(FOLDER)))


def all_tests(suite):
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from all_tests(test)
        else:
            yield test.id()


def main():
    loader = unittest.defaultTestLoader
    if ARGUMENTS[:1] == ["--list"]:
        suite = loader.loadTestsFromNames(ARGUMENTS[1:]) if ARGUMENTS[1:] else loader.discover(FOLDER)
        print("\n".join(all_tests(suite)))
        return 0
    suite = loader.loadTestsFromNames(ARGUMENTS) if ARGUMENTS else loader.discover(FOLDER)
    result = unittest.TextTestRunner(verbosity=2).run(suite)
    for _, reason in result.skipped:
        print("SKIP:", reason)
    if not result.wasSuccessful():
        return 1
    return 77 if len(result.skipped) == result.testsRun else 0


sys.exit(main())
