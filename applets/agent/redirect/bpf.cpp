// applets/agent/redirect/bpf.cpp — bpf(2) without a library.
#include "applets/agent/redirect/bpf.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <string>
#include <string_view>

namespace mirrord::agent::bpf {
namespace {

constexpr std::string_view kHint =
    "The agent needs CAP_NET_ADMIN and CAP_BPF (or CAP_SYS_ADMIN), and Linux 5.9.";

long call(bpf_cmd command, bpf_attr& attributes) {
  return ::syscall(SYS_bpf, command, &attributes, sizeof attributes);
}

std::uint64_t address_of(const void* memory) {
  return reinterpret_cast<std::uintptr_t>(memory);
}

Result<Fd> made(long fd, const std::string& tried) {
  if (fd < 0)
    return fail_system(tried, errno, std::string(kHint));
  return Fd(static_cast<int>(fd));
}

// The verifier tells most in its last line.
std::string last_line(std::string_view log) {
  while (log.ends_with('\n'))
    log.remove_suffix(1);
  return std::string(log.substr(log.rfind('\n') + 1));
}

}  // namespace

Result<Fd> create_map(const char* name, const MapShape& shape) {
  bpf_attr attributes{};
  attributes.map_type = shape.type;
  attributes.key_size = shape.key_size;
  attributes.value_size = shape.value_size;
  attributes.max_entries = shape.max_entries;
  std::strncpy(attributes.map_name, name, sizeof attributes.map_name - 1);
  return made(call(BPF_MAP_CREATE, attributes), std::string("make the BPF map ") + name);
}

Status update(int map, const void* key, const void* value) {
  bpf_attr attributes{};
  attributes.map_fd = static_cast<std::uint32_t>(map);
  attributes.key = address_of(key);
  attributes.value = address_of(value);
  attributes.flags = BPF_ANY;
  if (call(BPF_MAP_UPDATE_ELEM, attributes) != 0)
    return fail_system("put an entry into a BPF map", errno, std::string(kHint));
  return {};
}

void remove(int map, const void* key) {
  bpf_attr attributes{};
  attributes.map_fd = static_cast<std::uint32_t>(map);
  attributes.key = address_of(key);
  call(BPF_MAP_DELETE_ELEM, attributes);
}

Result<Fd> load_lookup_program(std::span<const bpf_insn> code) {
  std::array<char, 16384> log{};
  bpf_attr attributes{};
  attributes.prog_type = BPF_PROG_TYPE_SK_LOOKUP;
  attributes.expected_attach_type = BPF_SK_LOOKUP;
  attributes.insns = address_of(code.data());
  attributes.insn_cnt = static_cast<std::uint32_t>(code.size());
  attributes.license = address_of("MIT");
  std::strncpy(attributes.prog_name, "mirrord_steal", sizeof attributes.prog_name - 1);
  long program = call(BPF_PROG_LOAD, attributes);
  if (program >= 0 || errno == EPERM)
    return made(program, "load the socket look-up program");
  attributes.log_buf = address_of(log.data());
  attributes.log_size = log.size();
  attributes.log_level = 1;
  program = call(BPF_PROG_LOAD, attributes);
  const std::string words = last_line(log.data());
  return made(program,
              "load the socket look-up program" + (words.empty() ? "" : " (" + words + ")"));
}

Result<Fd> attach(int program, int network_namespace) {
  bpf_attr attributes{};
  attributes.link_create.prog_fd = static_cast<std::uint32_t>(program);
  attributes.link_create.target_fd = static_cast<std::uint32_t>(network_namespace);
  attributes.link_create.attach_type = BPF_SK_LOOKUP;
  return made(call(BPF_LINK_CREATE, attributes),
              "attach the socket look-up program to the target's network");
}

}  // namespace mirrord::agent::bpf
