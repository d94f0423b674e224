// k8s/pod_list_reader.cpp — a reader for the few fields of protobuf that are needed.
#include "k8s/pod_list_reader.h"

#include <algorithm>
#include <optional>

namespace mirrord::k8s {
namespace {

constexpr std::string_view kMagic{"k8s\0", 4};
constexpr std::size_t kMostOfAPod = 4 << 20;
constexpr std::uint64_t kMostOfAList = std::uint64_t{1} << 32;

// Numbers of fields, with the wire type "length-delimited".
constexpr std::uint64_t kBytes = 2;

std::optional<std::uint64_t> read_varint(std::string_view& bytes) {
  std::uint64_t value = 0;
  for (unsigned shift = 0; shift < 64 && !bytes.empty(); shift += 7) {
    const auto byte = static_cast<unsigned char>(bytes.front());
    bytes.remove_prefix(1);
    value |= std::uint64_t{byte & 0x7fU} << shift;
    if ((byte & 0x80U) == 0)
      return value;
  }
  return std::nullopt;
}

// A varint that ends within `bytes` has at most ten of them.
bool may_hold_more(std::string_view bytes) {
  constexpr std::size_t kLongestVarint = 10;
  return bytes.size() < kLongestVarint;
}

struct Field {
  std::uint64_t number = 0;
  std::string_view bytes;  // empty for fields that are numbers
};

// The next field of a whole message; nothing at its end or where it is malformed.
std::optional<Field> next_field(std::string_view& message) {
  if (message.empty())
    return std::nullopt;
  const auto tag = read_varint(message);
  if (!tag)
    return std::nullopt;
  Field field{.number = *tag >> 3};
  std::uint64_t size = 0;
  switch (*tag & 7) {
    case 0:
      return read_varint(message) ? std::optional(field) : std::nullopt;
    case 1:
      size = 8;
      break;
    case 5:
      size = 4;
      break;
    case kBytes:
      size = read_varint(message).value_or(UINT64_MAX);
      break;
    default:
      return std::nullopt;
  }
  if (size > message.size())
    return std::nullopt;
  field.bytes = message.substr(0, size);
  message.remove_prefix(size);
  return field;
}

std::string_view text_field(std::string_view message, std::uint64_t number) {
  while (const auto field = next_field(message))
    if (field->number == number)
      return field->bytes;
  return {};
}

ListedPod read_pod(std::string_view message) {
  ListedPod pod;
  while (const auto part = next_field(message)) {
    if (part->number == 1) {  // metadata: name
      pod.name = text_field(part->bytes, 1);
    } else if (part->number == 2) {  // spec: containers
      std::string_view spec = part->bytes;
      while (const auto field = next_field(spec))
        if (field->number == 2)
          pod.containers.emplace_back(text_field(field->bytes, 1));
    } else if (part->number == 3) {  // status: conditions
      std::string_view status = part->bytes;
      while (const auto field = next_field(status))
        if (field->number == 2 && text_field(field->bytes, 1) == "Ready")
          pod.is_ready = text_field(field->bytes, 2) == "True";
    }
  }
  return pod;
}

}  // namespace

// Up to the first byte of the list.
PodListReader::Step PodListReader::take_header() {
  std::string_view rest = std::string_view(buffer_).substr(at_);
  if (!has_magic_) {
    if (rest.size() < kMagic.size())
      return kMagic.starts_with(rest) ? Step::kMore : Step::kMalformed;
    if (!rest.starts_with(kMagic))
      return Step::kMalformed;
    has_magic_ = true;
    at_ += kMagic.size();
    return Step::kDone;
  }
  const auto tag = read_varint(rest);
  const auto size = tag ? read_varint(rest) : std::nullopt;
  if (!size)
    return may_hold_more(rest) ? Step::kMore : Step::kMalformed;
  if ((*tag & 7) != kBytes)
    return Step::kMalformed;
  if (*tag >> 3 == 2) {  // raw: the list
    if (*size > kMostOfAList)
      return Step::kMalformed;
    left_ = *size;
    is_in_list_ = true;
    at_ = buffer_.size() - rest.size();
    return Step::kDone;
  }
  if (*size > kMostOfAPod)
    return Step::kMalformed;
  if (*size > rest.size())
    return Step::kMore;
  at_ = buffer_.size() - rest.size() + *size;
  return Step::kDone;
}

PodListReader::Step PodListReader::take_list_field() {
  const std::string_view all = std::string_view(buffer_).substr(at_);
  std::string_view rest = all;
  const auto tag = read_varint(rest);
  const auto size = tag ? read_varint(rest) : std::nullopt;
  if (!size)
    return may_hold_more(rest) ? Step::kMore : Step::kMalformed;
  const std::uint64_t head = all.size() - rest.size();
  if ((*tag & 7) != kBytes || *size > kMostOfAPod || head + *size > left_)
    return Step::kMalformed;
  if (*size > rest.size())
    return Step::kMore;
  const std::string_view message = rest.substr(0, *size);
  if (*tag >> 3 == 1)
    continue_token_ = text_field(message, 3);
  else if (*tag >> 3 == 2)
    take_(read_pod(message));
  at_ += head + *size;
  left_ -= head + *size;
  return Step::kDone;
}

Status PodListReader::feed(std::string_view bytes) {
  buffer_ += bytes;
  Step step = Step::kDone;
  while (step == Step::kDone && at_ < buffer_.size() && !is_complete())
    step = is_in_list_ ? take_list_field() : take_header();
  if (step == Step::kMalformed)
    return fail(ErrorCode::kPeer, "the list of pods is malformed");
  if (is_complete())
    at_ = buffer_.size();  // what may follow says how the list was encoded
  buffer_.erase(0, at_);
  at_ = 0;
  return {};
}

}  // namespace mirrord::k8s
