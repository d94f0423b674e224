// hook/ipc.cpp — requests to the intproxy: sending, receiving, scattering.
#include "hook/ipc.h"

#include <sys/socket.h>

#include "hook/connection_pool.h"
#include "hook/report.h"
#include "hook/session.h"

namespace mirrord::hook {
namespace {

// Room for one descriptor in an ancillary message.
union DescriptorMessage {
  cmsghdr header;
  char bytes[CMSG_SPACE(sizeof(int))];
};

// What the caller's own arguments cause; the connection is as it was.
bool is_callers_fault(long result) {
  return result == -EFAULT || result == -EMSGSIZE || result == -ENOMEM || result == -ENOBUFS;
}

// 0, an errno that is the caller's fault, or kLost.
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
  return is_callers_fault(result) ? static_cast<int>(-result) : kLost;
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

// 0, an errno of the answer, or kLost.
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
  long result;
  do {
    result = raw(SYS_recvmsg, fd, &message, MSG_CMSG_CLOEXEC);
  } while (result == -EINTR);
  if (result == -EFAULT) {
    return EFAULT;  // the packet is gone, the next answer is another one's
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
  if (result == kLost) {
    drop_connection(connection);
    report_lost_session();
  } else {
    release_connection(connection);
  }
  return result;
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
  if (result == kLost) {
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

}  // namespace mirrord::hook
