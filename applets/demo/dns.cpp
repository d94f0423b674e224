// applets/demo/dns.cpp — answers DNS queries from the table of names that exist inside the pod only.
#include <ares.h>
#include <ares_dns_record.h>
#include <arpa/inet.h>
#include <strings.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <string>

#include "applets/demo/pod.h"

namespace mirrord::demo {
namespace {

constexpr unsigned kTtlSeconds = 5;
constexpr std::size_t kMaxDatagram = 512;

struct RecordFree {
  void operator()(ares_dns_record_t* record) const { ares_dns_record_destroy(record); }
};
using Record = std::unique_ptr<ares_dns_record_t, RecordFree>;

struct Question {
  std::string name;  // without a final dot
  ares_dns_rec_type_t type;
};

bool is_same_name(std::string_view a, const char* b) {
  return a.size() == std::strlen(b) && strncasecmp(a.data(), b, a.size()) == 0;
}

ares_dns_rr_t* add_answer(ares_dns_record_t* answer, const std::string& name,
                          ares_dns_rec_type_t type) {
  ares_dns_rr_t* rr = nullptr;
  ares_dns_record_rr_add(&rr, answer, ARES_SECTION_ANSWER, name.c_str(), type, ARES_CLASS_IN,
                         kTtlSeconds);
  return rr;
}

void add_address(ares_dns_record_t* answer, const std::string& name, const char* address) {
  in_addr v4{};
  ares_in6_addr v6{};
  if (inet_pton(AF_INET, address, &v4) == 1) {
    if (ares_dns_rr_t* rr = add_answer(answer, name, ARES_REC_TYPE_A))
      ares_dns_rr_set_addr(rr, ARES_RR_A_ADDR, &v4);
  } else if (inet_pton(AF_INET6, address, &v6) == 1) {
    if (ares_dns_rr_t* rr = add_answer(answer, name, ARES_REC_TYPE_AAAA))
      ares_dns_rr_set_addr6(rr, ARES_RR_AAAA_ADDR, &v6);
  }
}

// The name under which a reverse query asks for an address.
std::string reverse_name(const char* address) {
  ares_addr parsed{};
  parsed.family = std::strchr(address, ':') != nullptr ? AF_INET6 : AF_INET;
  if (inet_pton(parsed.family, address, &parsed.addr) != 1)
    return {};
  char* text = ares_dns_addr_to_ptr(&parsed);
  std::string name = text == nullptr ? "" : text;
  ares_free_string(text);
  return name;
}

void add_text(ares_dns_record_t* answer, const std::string& name, std::string_view text) {
  constexpr std::size_t kMaxString = 255;
  ares_dns_rr_t* rr = add_answer(answer, name, ARES_REC_TYPE_TXT);
  for (; rr != nullptr && !text.empty(); text.remove_prefix(std::min(text.size(), kMaxString))) {
    ares_dns_rr_add_abin(rr, ARES_RR_TXT_DATA, reinterpret_cast<const unsigned char*>(text.data()),
                         std::min(text.size(), kMaxString));
  }
}

// Mail servers, services and texts; false when the name has none.
bool answer_other_types(ares_dns_record_t* answer, const Question& question) {
  bool is_known = false;
  for (const MailServer& known : pod_mail_servers()) {
    if (!is_same_name(question.name, known.name))
      continue;
    is_known = true;
    ares_dns_rr_t* rr = question.type == ARES_REC_TYPE_MX
                            ? add_answer(answer, question.name, ARES_REC_TYPE_MX)
                            : nullptr;
    if (rr != nullptr) {
      ares_dns_rr_set_u16(rr, ARES_RR_MX_PREFERENCE, known.preference);
      ares_dns_rr_set_str(rr, ARES_RR_MX_EXCHANGE, known.target);
    }
  }
  for (const ServiceRecord& known : pod_service_records()) {
    if (!is_same_name(question.name, known.name))
      continue;
    is_known = true;
    ares_dns_rr_t* rr = question.type == ARES_REC_TYPE_SRV
                            ? add_answer(answer, question.name, ARES_REC_TYPE_SRV)
                            : nullptr;
    if (rr != nullptr) {
      ares_dns_rr_set_u16(rr, ARES_RR_SRV_PORT, known.port);
      ares_dns_rr_set_str(rr, ARES_RR_SRV_TARGET, known.target);
    }
  }
  for (const Text& known : pod_texts()) {
    if (!is_same_name(question.name, known.name))
      continue;
    is_known = true;
    if (question.type == ARES_REC_TYPE_TXT)
      add_text(answer, question.name, known.text);
  }
  return is_known;
}

// Adds what is known about the question; false when there is no such name.
bool answer_forward(ares_dns_record_t* answer, const Question& question) {
  std::string name = question.name;
  bool is_known = false;
  for (const Alias& alias : pod_aliases()) {
    if (!is_same_name(name, alias.name))
      continue;
    is_known = true;
    if (ares_dns_rr_t* rr = add_answer(answer, name, ARES_REC_TYPE_CNAME))
      ares_dns_rr_set_str(rr, ARES_RR_CNAME_CNAME, alias.target);
    name = alias.target;
    break;
  }
  for (const Name& known : pod_names()) {
    if (!is_same_name(name, known.name))
      continue;
    is_known = true;
    const bool is_v6 = std::strchr(known.address, ':') != nullptr;
    if (question.type == (is_v6 ? ARES_REC_TYPE_AAAA : ARES_REC_TYPE_A))
      add_address(answer, name, known.address);
  }
  return is_known;
}

bool answer_reverse(ares_dns_record_t* answer, const Question& question) {
  bool is_known = false;
  for (const Name& known : pod_names()) {
    if (!is_same_name(question.name, reverse_name(known.address).c_str()))
      continue;
    is_known = true;
    if (question.type != ARES_REC_TYPE_PTR)
      continue;
    if (ares_dns_rr_t* rr = add_answer(answer, question.name, ARES_REC_TYPE_PTR))
      ares_dns_rr_set_str(rr, ARES_RR_PTR_DNAME, known.name);
  }
  return is_known;
}

std::string encode(const ares_dns_record_t* record) {
  unsigned char* bytes = nullptr;
  std::size_t size = 0;
  if (ares_dns_write(record, &bytes, &size) != ARES_SUCCESS)
    return {};
  std::string text(reinterpret_cast<const char*>(bytes), size);
  ares_free_string(bytes);
  return text;
}

Record make_answer(unsigned short id, ares_dns_rcode_t code, const Question* question,
                   unsigned short extra_flags = 0) {
  ares_dns_record_t* answer = nullptr;
  const auto flags = static_cast<unsigned short>(ARES_FLAG_QR | ARES_FLAG_AA | ARES_FLAG_RD |
                                                 ARES_FLAG_RA | extra_flags);
  if (ares_dns_record_create(&answer, id, flags, ARES_OPCODE_QUERY, code) != ARES_SUCCESS)
    return nullptr;
  if (question != nullptr)
    ares_dns_record_query_add(answer, question->name.c_str(), question->type, ARES_CLASS_IN);
  return Record(answer);
}

}  // namespace

std::string answer_query(std::span<const std::byte> query, bool may_be_long) {
  ares_dns_record_t* parsed = nullptr;
  if (ares_dns_parse(reinterpret_cast<const unsigned char*>(query.data()), query.size(), 0,
                     &parsed) != ARES_SUCCESS)
    return {};
  const Record request(parsed);
  const char* name = nullptr;
  ares_dns_class_t dns_class = ARES_CLASS_IN;
  Question question{};
  if (ares_dns_record_query_get(parsed, 0, &name, &question.type, &dns_class) != ARES_SUCCESS)
    return {};
  question.name = name;
  const unsigned short id = ares_dns_record_get_id(parsed);
  Record answer = make_answer(id, ARES_RCODE_NOERROR, &question);
  if (!answer)
    return {};
  const bool has_addresses = answer_forward(answer.get(), question);
  const bool has_others = answer_other_types(answer.get(), question);
  if (!has_addresses && !has_others && !answer_reverse(answer.get(), question))
    answer = make_answer(id, ARES_RCODE_NXDOMAIN, &question);
  std::string bytes = encode(answer.get());
  if (bytes.size() > kMaxDatagram && !may_be_long)
    bytes = encode(make_answer(id, ARES_RCODE_NOERROR, &question, ARES_FLAG_TC).get());
  return bytes;
}

}  // namespace mirrord::demo
