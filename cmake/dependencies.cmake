# cmake/dependencies.cmake — imported targets of the third-party libraries (deps::NAME).
