// proto/errors.h — operating system errors as wire errors and back.
#pragma once

#include "proto/response_error.h"

namespace mirrord::proto {

// RemoteIO with the number and the kind that the original gives it.
ResponseError from_errno(int error);

// What the program that asked shall see in errno. 0 for NotImplemented: the call is then made
// locally or fails without setting errno. DnsLookup has no errno, see to_gai_error(); Forbidden and
// ForbiddenWithReason end the program, EPERM stands in for where that cannot be done.
int to_errno(const ResponseError& error);

// The EAI_* code of a failed look-up.
int to_gai_error(const ResponseError& error);

// One line for people and logs.
std::string describe(const ResponseError& error);

}  // namespace mirrord::proto
