# cmake/testing.cmake — helpers the folders under tests/ use to declare tests.
