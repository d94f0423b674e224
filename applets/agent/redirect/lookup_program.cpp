// applets/agent/redirect/lookup_program.cpp — the look-up program, instruction by instruction.
//
// It runs where the kernel looks for a listening socket (bpf_sk_lookup, Linux 5.9), once for a new
// connection and never for packets of established ones.
#include "applets/agent/redirect/lookup_program.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <cstddef>
#include <cstring>

namespace mirrord::agent {
namespace {

constexpr std::int16_t offset_in_context(std::size_t offset) {
  return static_cast<std::int16_t>(offset);
}
constexpr std::int16_t kFamily = offset_in_context(offsetof(bpf_sk_lookup, family));
constexpr std::int16_t kProtocol = offset_in_context(offsetof(bpf_sk_lookup, protocol));
constexpr std::int16_t kRemoteIp4 = offset_in_context(offsetof(bpf_sk_lookup, remote_ip4));
constexpr std::int16_t kRemoteIp6 = offset_in_context(offsetof(bpf_sk_lookup, remote_ip6));
constexpr std::int16_t kRemotePort = offset_in_context(offsetof(bpf_sk_lookup, remote_port));
constexpr std::int16_t kLocalPort = offset_in_context(offsetof(bpf_sk_lookup, local_port));

// The stack, from the frame pointer down: a LookupSource, then a word for other keys.
constexpr std::int16_t kSource = -24;
constexpr std::int16_t kWord = -28;

enum Register : std::uint8_t { r0, r1, r2, r3, r4, r5, r6, r7, r8, r9, frame };

// Writes instructions; jumps go forward to a label that is bound later.
class Assembler {
 public:
  struct Label {
    std::vector<std::size_t> jumps;
  };

  void move(Register to, Register from) { add(BPF_ALU64 | BPF_MOV | BPF_X, to, from, 0, 0); }
  void set(Register to, std::int32_t value) { add(BPF_ALU64 | BPF_MOV | BPF_K, to, r0, 0, value); }
  void add_to(Register to, std::int32_t value) {
    add(BPF_ALU64 | BPF_ADD | BPF_K, to, r0, 0, value);
  }
  void load_word(Register to, Register from, std::int16_t offset) {
    add(BPF_LDX | BPF_MEM | BPF_W, to, from, offset, 0);
  }
  void load_half(Register to, Register from, std::int16_t offset) {
    add(BPF_LDX | BPF_MEM | BPF_H, to, from, offset, 0);
  }
  void store_word(Register to, std::int16_t offset, Register from) {
    add(BPF_STX | BPF_MEM | BPF_W, to, from, offset, 0);
  }
  void store_number(Register to, std::int16_t offset, std::int32_t value) {
    add(BPF_ST | BPF_MEM | BPF_W, to, r0, offset, value);
  }
  void load_map(Register to, int map) {
    add(BPF_LD | BPF_DW | BPF_IMM, to, static_cast<Register>(BPF_PSEUDO_MAP_FD), 0, map);
    add(0, r0, r0, 0, 0);
  }
  void call(std::int32_t helper) { add(BPF_JMP | BPF_CALL, r0, r0, 0, helper); }
  void jump(Label& label) { jump_if(BPF_JA, r0, 0, label); }
  void jump_if_equal(Register one, std::int32_t value, Label& label) {
    jump_if(BPF_JEQ, one, value, label);
  }
  void jump_if_not_equal(Register one, std::int32_t value, Label& label) {
    jump_if(BPF_JNE, one, value, label);
  }
  void bind(Label& label) {
    for (const std::size_t at : label.jumps)
      code_[at].off = static_cast<std::int16_t>(code_.size() - at - 1);
  }
  void exit() { add(BPF_JMP | BPF_EXIT, r0, r0, 0, 0); }

  std::vector<bpf_insn> take() { return std::move(code_); }

 private:
  void jump_if(std::uint8_t condition, Register one, std::int32_t value, Label& label) {
    label.jumps.push_back(code_.size());
    add(static_cast<std::uint8_t>(BPF_JMP | condition | BPF_K), one, r0, 0, value);
  }
  void add(int code, Register to, Register from, std::int16_t offset, std::int32_t value) {
    bpf_insn instruction{};
    instruction.code = static_cast<std::uint8_t>(code);
    instruction.dst_reg = static_cast<std::uint8_t>(to & 0xf);
    instruction.src_reg = static_cast<std::uint8_t>(from & 0xf);
    instruction.off = offset;
    instruction.imm = value;
    code_.push_back(instruction);
  }

  std::vector<bpf_insn> code_;
};

// r0 = the entry for the key at `key`, or 0.
void look_up(Assembler& code, int map, std::int16_t key) {
  code.load_map(r1, map);
  code.move(r2, frame);
  code.add_to(r2, key);
  code.call(BPF_FUNC_map_lookup_elem);
}

// The source of the connection, as a LookupSource on the stack. r6: the context.
void write_source(Assembler& code) {
  Assembler::Label is_v6;
  Assembler::Label done;
  const auto ip_word = [](int index) { return static_cast<std::int16_t>(kSource + 4 + 4 * index); };
  code.load_word(r1, r6, kFamily);
  code.store_word(frame, kSource, r1);
  code.load_half(r2, r6, kRemotePort);
  code.store_word(frame, kSource + 20, r2);
  code.jump_if_equal(r1, AF_INET6, is_v6);
  code.load_word(r1, r6, kRemoteIp4);
  code.store_word(frame, ip_word(0), r1);
  for (int i = 1; i < 4; ++i)
    code.store_number(frame, ip_word(i), 0);
  code.jump(done);
  code.bind(is_v6);
  for (int i = 0; i < 4; ++i) {
    code.load_word(r1, r6, static_cast<std::int16_t>(kRemoteIp6 + 4 * i));
    code.store_word(frame, ip_word(i), r1);
  }
  code.bind(done);
}

}  // namespace

LookupSource LookupSource::of(const net::Endpoint& endpoint) {
  LookupSource source;
  source.family = static_cast<std::uint32_t>(endpoint.ip.family());
  std::memcpy(source.ip.data(), endpoint.ip.bytes.data(), endpoint.ip.is_v6 ? 16 : 4);
  const std::uint16_t port = htons(endpoint.port);
  std::memcpy(&source.port, &port, sizeof port);
  return source;
}

std::vector<bpf_insn> lookup_program(const LookupMaps& maps) {
  Assembler code;
  Assembler::Label pass;
  code.move(r6, r1);
  code.load_word(r1, r6, kProtocol);
  code.jump_if_not_equal(r1, IPPROTO_TCP, pass);

  code.load_word(r1, r6, kLocalPort);
  code.store_word(frame, kWord, r1);
  look_up(code, maps.ports, kWord);
  code.jump_if_equal(r0, 0, pass);

  write_source(code);
  look_up(code, maps.exempt, kSource);
  code.jump_if_not_equal(r0, 0, pass);

  Assembler::Label is_v6;
  Assembler::Label chosen;
  code.load_word(r1, r6, kFamily);
  code.jump_if_equal(r1, AF_INET6, is_v6);
  code.store_number(frame, kWord, 0);
  code.jump(chosen);
  code.bind(is_v6);
  code.store_number(frame, kWord, 1);
  code.bind(chosen);
  look_up(code, maps.listeners, kWord);
  code.jump_if_equal(r0, 0, pass);

  code.move(r7, r0);
  code.move(r1, r6);
  code.move(r2, r7);
  code.set(r3, 0);
  code.call(BPF_FUNC_sk_assign);
  code.move(r1, r7);
  code.call(BPF_FUNC_sk_release);

  code.bind(pass);
  code.set(r0, SK_PASS);
  code.exit();
  return code.take();
}

}  // namespace mirrord::agent
