// hook/ipc.cpp — requests to the intproxy: sending, receiving, scattering.
#include "hook/ipc.h"

#include <sys/socket.h>

#include "hook/connection_pool.h"
#include "hook/patience.h"
#include "hook/report.h"
#include "hook/session.h"

namespace mirrord::hook {
namespace {

// Inside this file: the intproxy is there but says nothing. Callers see kLost.
constexpr int kSilent = kLost + 1;
// The program's memory did not take the answer. The packet may be gone or still there: the connection
// is of no use for another request. Callers see EFAULT.
constexpr int kUnread = kLost + 2;

// Room for one descriptor in an ancillary message.
union DescriptorMessage {
  cmsghdr header;
  char bytes[CMSG_SPACE(sizeof(int))];
};

// What the caller's own arguments cause; the connection is as it was.
bool is_callers_fault(long result) {
  return result == -EFAULT || result == -EMSGSIZE || result == -ENOMEM || result == -ENOBUFS;
}

// 0, an errno that is the caller's fault, kLost or kSilent.
int send_packet(int fd, const Request& request) {
  local::LocalHeader header = {request.type, 0};
  iovec parts[2 + kMaxParts];
  parts[0] = {&header, sizeof header};
  parts[1] = {const_cast<void*>(request.fixed), request.fixed_size};
  int count = least(request.part_count, kMaxParts);
  for (int i = 0; i < count; ++i) {
    parts[2 + i] = request.parts[i];
  }
  msghdr message = {};
  message.msg_iov = parts;
  message.msg_iovlen = static_cast<size_t>(2 + count);
  DescriptorMessage control = {};
  if (request.descriptor >= 0) {
    control.header.cmsg_level = SOL_SOCKET;
    control.header.cmsg_type = SCM_RIGHTS;
    control.header.cmsg_len = CMSG_LEN(sizeof(int));
    *reinterpret_cast<int*>(CMSG_DATA(&control.header)) = request.descriptor;
    message.msg_control = &control;
    message.msg_controllen = sizeof control;
  }
  long result;
  do {
    result = raw(SYS_sendmsg, fd, &message, MSG_NOSIGNAL);
  } while (result == -EINTR);
  if (result >= 0) {
    return 0;
  }
  return is_callers_fault(result) ? static_cast<int>(-result) : result == -EAGAIN ? kSilent : kLost;
}

// Closes a descriptor that came with a packet that nobody wants.
void take_descriptor(const msghdr& message, const DescriptorMessage& control, Answer& answer) {
  if (message.msg_controllen < sizeof(cmsghdr) || control.header.cmsg_type != SCM_RIGHTS) {
    return;
  }
  int fd = *reinterpret_cast<const int*>(CMSG_DATA(&control.header));
  if (answer.wants_descriptor) {
    answer.descriptor = fd;
  } else {
    raw(SYS_close, fd);
  }
}

// recvmsg that ends: an intproxy that is at work may take its time, one that does not even answer a
// ping is given up.
long receive_patiently(int fd, msghdr* message) {
  const msghdr empty = *message;
  Patience patience;
  while (true) {
    const long result = raw(SYS_recvmsg, fd, message, MSG_CMSG_CLOEXEC);
    if (result != -EINTR && result != -EAGAIN) {
      return result;
    }
    *message = empty;  // the kernel has written to it
    if ((result == -EAGAIN || patience.is_over()) && !answers_ping()) {
      return -EAGAIN;
    }
  }
}

// 0, an errno of the answer, kLost, kSilent or kUnread.
int receive_packet(int fd, Answer& answer) {
  local::LocalHeader header = {};
  iovec parts[2 + kMaxParts];
  parts[0] = {&header, sizeof header};
  parts[1] = {answer.fixed, answer.fixed_size};
  int count = least(answer.part_count, kMaxParts);
  for (int i = 0; i < count; ++i) {
    parts[2 + i] = answer.parts[i];
  }
  msghdr message = {};
  message.msg_iov = parts;
  message.msg_iovlen = static_cast<size_t>(2 + count);
  DescriptorMessage control = {};
  message.msg_control = &control;
  message.msg_controllen = sizeof control;
  const long result = receive_patiently(fd, &message);
  if (result == -EFAULT) {
    return kUnread;
  }
  if (result == -EAGAIN) {
    return kSilent;
  }
  if (result < static_cast<long>(sizeof header)) {
    return kLost;
  }
  take_descriptor(message, control, answer);
  size_t size = static_cast<size_t>(result) - sizeof header;
  if (header.error != 0) {
    return header.error;
  }
  if (size < answer.fixed_size) {
    return kLost;
  }
  answer.data_size = size - answer.fixed_size;
  return 0;
}

}  // namespace

int call(const Request& request, Answer& answer) {
  SavedErrno saved;
  Connection* connection = acquire_connection();
  if (connection == nullptr) {
    report_lost_session();
    return kLost;
  }
  int result = send_packet(connection->fd, request);
  if (result == 0) {
    result = receive_packet(connection->fd, answer);
  }
  if (result < kLost) {
    release_connection(connection);
    if (MIRRORD_UNLIKELY(is_silent())) {
      note_silence(false);
    }
    return result;
  }
  drop_connection(connection);
  if (result == kUnread) {
    return EFAULT;
  }
  if (result == kSilent) {
    note_silence(true);
    report_silent_session();
  } else {
    report_lost_session();
  }
  return kLost;
}

int call(const Request& request, Answer& answer, int lost_error) {
  int result = call(request, answer);
  return result == kLost ? lost_error : result;
}

bool notify(const Request& request) {
  SavedErrno saved;
  Connection* connection = acquire_connection();
  if (connection == nullptr) {
    return false;
  }
  int result = send_packet(connection->fd, request);
  if (result >= kLost) {
    drop_connection(connection);
  } else {
    release_connection(connection);
  }
  return result == 0;
}

bool say_hello(int fd) {
  local::Hello hello = {local::kVersion, static_cast<int32_t>(raw(SYS_getpid)), session.process_key,
                        session.parent_key};
  iovec name = {session.program, strlen(session.program)};
  Request request = {local::MessageType::kHello, &hello, sizeof hello, &name, 1, -1};
  return send_packet(fd, request) == 0;
}

bool answers_ping() {
  const int fd = open_connection();
  if (fd < 0) {
    // Without a descriptor for the question nothing is known.
    return fd != -ENOTCONN && fd != -EAGAIN;
  }
  const Request request = {local::MessageType::kPing, nullptr, 0, nullptr, 0, -1};
  local::LocalHeader header = {};
  iovec part = {&header, sizeof header};
  msghdr message = {};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  Patience patience;
  long result = send_packet(fd, request) == 0 ? -EINTR : -EAGAIN;
  while (result == -EINTR && !patience.is_over()) {
    result = raw(SYS_recvmsg, fd, &message, 0);
  }
  raw(SYS_close, fd);
  note_silence(result < static_cast<long>(sizeof header));
  return result >= static_cast<long>(sizeof header);
}

}  // namespace mirrord::hook
