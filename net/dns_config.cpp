// net/dns_config.cpp — reads resolv.conf and hosts the way the C library does.
#include "net/dns_config.h"

#include <algorithm>
#include <charconv>
#include <optional>

namespace mirrord::net {

namespace {

constexpr std::string_view kBlanks = " \t\r\f\v";

// Cuts the next word off `line`; empty at the end.
std::string_view next_word(std::string_view& line) {
  const std::size_t begin = std::min(line.find_first_not_of(kBlanks), line.size());
  line.remove_prefix(begin);
  const std::size_t end = std::min(line.find_first_of(kBlanks), line.size());
  const std::string_view word = line.substr(0, end);
  line.remove_prefix(end);
  return word;
}

// Calls `use` with each line, without its comment.
template <class Use>
void for_each_line(std::string_view text, std::string_view comment_marks, Use use) {
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    line = line.substr(0, std::min(line.find_first_of(comment_marks), line.size()));
    use(line);
  }
}

// The number after "name:" in an option, limited to [low, high].
std::optional<int> option_number(std::string_view option, std::string_view name, int low,
                                 int high) {
  if (!option.starts_with(name)) {
    return std::nullopt;
  }
  option.remove_prefix(name.size());
  int value = 0;
  const auto [end, error] = std::from_chars(option.data(), option.data() + option.size(), value);
  if (error == std::errc::result_out_of_range) {
    return high;
  }
  if (error != std::errc() || end != option.data() + option.size()) {
    return std::nullopt;
  }
  return std::clamp(value, low, high);
}

void apply_option(DnsSettings& settings, std::string_view option) {
  if (const auto ndots = option_number(option, "ndots:", 0, 15)) {
    settings.ndots = *ndots;
  } else if (const auto timeout = option_number(option, "timeout:", 1, 30)) {
    settings.timeout = std::chrono::seconds(*timeout);
  } else if (const auto attempts = option_number(option, "attempts:", 1, 5)) {
    settings.attempts = *attempts;
  } else if (option == "rotate") {
    settings.rotate = true;
  } else if (option == "use-vc") {
    settings.use_tcp = true;
  } else if (option == "edns0") {
    settings.edns0 = true;
  }
}

// An address with an optional scope, or "[address]:port" (an extension that tests use).
bool is_server(std::string_view word) {
  if (!word.starts_with('[')) {
    return IpAddress::parse(word).has_value();
  }
  const std::size_t end = word.find("]:");
  return end != std::string_view::npos && IpAddress::parse(word.substr(1, end - 1)).has_value() &&
         option_number(word.substr(end), "]:", 1, 65535).has_value();
}

void set_search(DnsSettings& settings, std::string_view line, std::size_t limit) {
  settings.search.clear();
  for (std::string_view word = next_word(line); !word.empty() && settings.search.size() < limit;
       word = next_word(line)) {
    const std::string domain = normal_name(word);
    if (!domain.empty()) {  // "." means the root: the name alone, which is tried anyway
      settings.search.push_back(domain);
    }
  }
}

}  // namespace

DnsSettings parse_resolv_conf(std::string_view text) {
  DnsSettings settings;
  for_each_line(text, "#;", [&](std::string_view line) {
    const std::string_view keyword = next_word(line);
    if (keyword == "nameserver") {
      const std::string_view server = next_word(line);
      if (is_server(server) && settings.servers.size() < DnsSettings::kMaxServers) {
        settings.servers.emplace_back(server);
      }
    } else if (keyword == "search") {
      set_search(settings, line, DnsSettings::kMaxSearch);
    } else if (keyword == "domain") {
      set_search(settings, line, 1);
    } else if (keyword == "options") {
      for (std::string_view word = next_word(line); !word.empty(); word = next_word(line)) {
        apply_option(settings, word);
      }
    }
  });
  if (settings.servers.empty()) {
    settings.servers.emplace_back("127.0.0.1");
  }
  return settings;
}

std::vector<std::string> search_candidates(const DnsSettings& settings, std::string_view name) {
  std::vector<std::string> candidates;
  if (name.ends_with('.')) {
    candidates.emplace_back(name.substr(0, name.size() - 1));
    return candidates;
  }
  const bool is_first = std::ranges::count(name, '.') >= settings.ndots;
  if (is_first) {
    candidates.emplace_back(name);
  }
  for (const std::string& domain : settings.search) {
    std::string full(name);
    full += '.';
    full += domain;
    if (is_askable(full)) {
      candidates.push_back(std::move(full));
    }
  }
  if (!is_first) {
    candidates.emplace_back(name);
  }
  return candidates;
}

HostsFile parse_hosts(std::string_view text) {
  HostsFile hosts;
  for_each_line(text, "#", [&](std::string_view line) {
    const auto address = IpAddress::parse(next_word(line));
    if (!address) {
      return;
    }
    std::string canonical;
    for (std::string_view word = next_word(line); !word.empty(); word = next_word(line)) {
      if (canonical.empty()) {
        canonical = word;
        hosts.by_address.try_emplace(*address, canonical);
      }
      hosts.by_name.emplace(normal_name(word), HostsFile::Entry{*address, canonical});
    }
  });
  return hosts;
}

std::string normal_name(std::string_view name) {
  if (name.ends_with('.')) {
    name.remove_suffix(1);
  }
  std::string result(name);
  for (char& c : result) {
    if (c >= 'A' && c <= 'Z') {
      c = static_cast<char>(c - 'A' + 'a');
    }
  }
  return result;
}

bool is_localhost(std::string_view name) {
  return name == "localhost" || name.ends_with(".localhost");
}

bool is_askable(std::string_view name) {
  constexpr std::size_t kMaxName = 253, kMaxLabel = 63;
  if (name.ends_with('.')) {
    name.remove_suffix(1);
  }
  if (name.empty() || name.size() > kMaxName) {
    return false;
  }
  std::size_t label = 0;
  for (const char c : name) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '.') {
      if (label == 0) {
        return false;
      }
      label = 0;
    } else if (byte <= ' ' || byte == 0x7F || ++label > kMaxLabel) {
      return false;
    }
  }
  return label != 0;
}

std::string reverse_name(const IpAddress& address) {
  std::string name;
  if (!address.is_v6) {
    for (int i = 3; i >= 0; --i) {
      name += std::to_string(address.bytes[static_cast<std::size_t>(i)]) + '.';
    }
    return name + "in-addr.arpa";
  }
  constexpr char kDigits[] = "0123456789abcdef";
  for (int i = 15; i >= 0; --i) {
    const std::uint8_t byte = address.bytes[static_cast<std::size_t>(i)];
    name += {kDigits[byte & 15], '.', kDigits[byte >> 4], '.'};
  }
  return name + "ip6.arpa";
}

}  // namespace mirrord::net
