// tests/hook/peer_session.cpp — the session files a hook needs, made for a test.
#include "tests/hook/peer_session.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <vector>

namespace mirrord::peer {
namespace {

struct Prefix {
  const char* text;
  uint8_t outcome;
};

constexpr uint8_t outcome(local::Decision read, local::Decision write) {
  return static_cast<uint8_t>(static_cast<uint8_t>(read) | static_cast<uint8_t>(write) << 2);
}

// One state for each letter of each prefix; every prefix begins with another letter after the
// slash or shares its beginning with none that matters here.
std::string build_automaton() {
  using local::Decision;
  const Prefix prefixes[] = {
      {kRemotePrefix, outcome(Decision::kRemote, Decision::kRemote)},
      {kReadOnlyPrefix, outcome(Decision::kRemote, Decision::kLocal)},
      {kMappedPrefix, local::kOutcomeMap},
      {kMappedLocal, local::kOutcomeMap},
      {kHiddenPrefix, outcome(Decision::kNotFound, Decision::kNotFound)},
  };
  std::vector<uint8_t> outcomes = {0, 0};  // 0: start, 1: local for good
  std::vector<uint32_t> transitions(2 * 256, 1);
  auto add_state = [&](uint8_t value, uint32_t next) {
    outcomes.push_back(value);
    transitions.resize(transitions.size() + 256, next);
    return static_cast<uint32_t>(outcomes.size() - 1);
  };
  for (const Prefix& prefix : prefixes) {
    uint32_t state = 0;
    for (const char* at = prefix.text; *at != '\0'; ++at) {
      size_t index = state * 256 + static_cast<uint8_t>(*at);
      if (transitions[index] == 1) {
        uint32_t made = add_state(0, 1);
        transitions[index] = made;
      }
      state = transitions[index];
    }
    outcomes[state] = prefix.outcome;
    uint32_t below = add_state(prefix.outcome, 0);
    for (size_t byte = 0; byte < 256; ++byte) {
      transitions[below * 256 + byte] = below;
    }
    transitions[state * 256 + '/'] = below;
  }
  local::PathAutomaton header = {};
  header.state_count = static_cast<uint32_t>(outcomes.size());
  header.class_count = 256;
  for (size_t i = 0; i < 256; ++i) {
    header.classes[i] = static_cast<uint8_t>(i);
  }
  std::string bytes(reinterpret_cast<const char*>(&header), sizeof header);
  bytes.append(reinterpret_cast<const char*>(outcomes.data()), outcomes.size());
  bytes.resize((bytes.size() - sizeof header + 3) / 4 * 4 + sizeof header);
  bytes.append(reinterpret_cast<const char*>(transitions.data()), transitions.size() * 4);
  return bytes;
}

bool write_file(const std::string& path, const std::string& bytes) {
  int fd = ::open(path.c_str(), O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
  bool ok =
      fd >= 0 && ::write(fd, bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size());
  ::close(fd);
  return ok;
}

}  // namespace

bool write_session(const std::string& directory, const std::string& hook, const std::string& skip,
                   uint32_t version, local::FileSlot** slots) {
  local::Settings settings = {};
  std::string bytes(sizeof settings, '\0');
  auto add = [&bytes](const std::string& data) {
    bytes.resize((bytes.size() + 7) / 8 * 8);
    local::Section section = {static_cast<uint32_t>(bytes.size()),
                              static_cast<uint32_t>(data.size())};
    bytes += data;
    return section;
  };
  settings.magic = local::kSettingsMagic;
  settings.version = version;
  settings.flags = local::kFilesEnabled;
  settings.socket_path = add(directory + "/" + local::kSocketFile);
  settings.session_directory = add(directory);
  settings.hook_path = add(hook);
  settings.path_automaton = add(build_automaton());
  settings.skip_processes = add(skip + std::string(1, '\0'));
  settings.environment = add(std::string("MIRRORD_TEST_KEPT=yes") + '\0');
  settings.size = static_cast<uint32_t>(bytes.size());
  std::memcpy(bytes.data(), &settings, sizeof settings);
  size_t slots_size = sizeof(local::FileSlot) * local::kSlotCount;
  std::string slots_path = directory + "/" + local::kSlotsFile;
  if (!write_file(directory + "/" + local::kSettingsFile, bytes) ||
      !write_file(slots_path, std::string(slots_size, '\0'))) {
    return false;
  }
  int fd = ::open(slots_path.c_str(), O_RDWR | O_CLOEXEC);
  void* mapped = ::mmap(nullptr, slots_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  ::close(fd);
  *slots = static_cast<local::FileSlot*>(mapped);
  return mapped != MAP_FAILED;
}

}  // namespace mirrord::peer
