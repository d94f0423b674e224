// net/error.h — the one error type of every role: what was tried, why it failed, what to do next.
#pragma once

#include <expected>
#include <string>
#include <string_view>
#include <utility>

namespace mirrord {

// What a caller may want to tell apart. Exit codes and wire errors derive from it.
enum class ErrorCode {
  kUsage,         // wrong argument or flag
  kConfig,        // wrong configuration: the message names file, line and key
  kNotFound,      // a program, process, container, file or name does not exist
  kPermission,    // the system refused; the hint names the privilege
  kUnsupported,   // the kernel or the peer cannot do it
  kSystem,        // a system call failed for another reason; `sys` holds its errno
  kPeer,          // the peer sent something that its protocol does not allow
  kDisconnected,  // the peer is gone
  kTimeout,       // a wait came to its end
  kInternal,      // a defect of this program
};

// A failure for the user: `what` is one sentence "tried X on Y: reason", `hint` one imperative
// sentence with the flag, key or command that helps (may be empty). `sys` is an errno or 0.
struct Error {
  ErrorCode code = ErrorCode::kInternal;
  std::string what;
  std::string hint;
  int sys = 0;
};

template <class T>
using Result = std::expected<T, Error>;
using Status = std::expected<void, Error>;

[[nodiscard]] inline std::unexpected<Error> fail(ErrorCode code, std::string what,
                                                 std::string hint = {}) {
  return std::unexpected(Error{code, std::move(what), std::move(hint), 0});
}

// A failed system call: "`tried`: strerror(`error_number`)". The code follows from the errno.
[[nodiscard]] Error system_error(std::string_view tried, int error_number, std::string hint = {});
[[nodiscard]] inline std::unexpected<Error> fail_system(std::string_view tried, int error_number,
                                                        std::string hint = {}) {
  return std::unexpected(system_error(tried, error_number, std::move(hint)));
}

}  // namespace mirrord

// Leaves the function with the error of `expression`, or declares `variable` with its value.
#define MIRRORD_TRY(variable, expression)                         \
  auto variable##_result = (expression);                          \
  if (!variable##_result) {                                       \
    return std::unexpected(std::move(variable##_result).error()); \
  }                                                               \
  auto variable = std::move(*variable##_result)

// The same for a Status.
#define MIRRORD_CHECK_STATUS(expression)                        \
  do {                                                          \
    if (auto status_result = (expression); !status_result) {    \
      return std::unexpected(std::move(status_result).error()); \
    }                                                           \
  } while (false)
