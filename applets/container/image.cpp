// applets/container/image.cpp — a ustar file (POSIX.1-1988) of a configuration, a manifest and a layer of one directory.
#include "applets/container/image.h"

#include <mbedtls/sha256.h>

#include <array>
#include <cstdio>
#include <cstring>
#include <string_view>

namespace mirrord::container {
namespace {

constexpr std::size_t kBlock = 512;

struct Entry {
  std::string_view name, content;
  char type;  // '0' file, '5' directory
};

std::string tar_header(const Entry& entry) {
  std::string header(kBlock, '\0');
  const auto put = [&](std::size_t at, std::string_view text) {
    std::memcpy(header.data() + at, text.data(), text.size());
  };
  std::array<char, 16> size{};
  std::snprintf(size.data(), size.size(), "%011zo", entry.content.size());
  put(0, entry.name);
  put(100, entry.type == '5' ? "0000755" : "0000644");
  put(108, "0000000");
  put(116, "0000000");
  put(124, size.data());
  put(136, "00000000000");
  put(148, "        ");  // the checksum counts as blanks
  header[156] = entry.type;
  put(257, "ustar");
  put(263, "00");
  unsigned sum = 0;
  for (const char c : header)
    sum += static_cast<unsigned char>(c);
  std::array<char, 8> checksum{};
  std::snprintf(checksum.data(), checksum.size(), "%06o", sum);
  put(148, {checksum.data(), 7});
  return header;
}

std::string tar(std::initializer_list<Entry> entries) {
  std::string archive;
  for (const Entry& entry : entries) {
    archive += tar_header(entry);
    archive += entry.content;
    archive.append((kBlock - entry.content.size() % kBlock) % kBlock, '\0');
  }
  return archive.append(2 * kBlock, '\0');
}

std::string sha256_hex(std::string_view text) {
  std::array<unsigned char, 32> digest{};
  mbedtls_sha256(reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest.data(),
                 0);
  std::string hex;
  for (const unsigned char byte : digest) {
    hex += "0123456789abcdef"[byte >> 4];
    hex += "0123456789abcdef"[byte & 15];
  }
  return hex;
}

}  // namespace

std::string empty_image_archive() {
  const std::string layer = tar({{"opt/", "", '5'}});
  const std::string config =
      "{\"architecture\":\"" + std::string(architecture()) +
      "\",\"os\":\"linux\",\"created\":\"1970-01-01T00:00:00Z\",\"config\":{}," +
      "\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"sha256:" + sha256_hex(layer) +
      "\"]},\"history\":[{\"created\":" + "\"1970-01-01T00:00:00Z\",\"created_by\":\"mirrord\"}]}";
  const std::string config_name = sha256_hex(config) + ".json";
  const std::string manifest = "[{\"Config\":\"" + config_name + "\",\"RepoTags\":[\"" +
                               kEmptyImage + "\"],\"Layers\":[\"layer.tar\"]}]";
  return tar(
      {{config_name, config, '0'}, {"layer.tar", layer, '0'}, {"manifest.json", manifest, '0'}});
}

}  // namespace mirrord::container
