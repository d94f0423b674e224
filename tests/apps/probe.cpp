// tests/apps/probe.cpp — the program under test in C++: std::filesystem, streams, threads, mmap.
#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace {

std::string crc(const std::string& bytes) {
  static const auto table = [] {
    std::array<std::uint32_t, 256> values{};
    for (std::uint32_t n = 0; n < 256; ++n) {
      values[n] = n;
      for (int k = 0; k < 8; ++k)
        values[n] = (values[n] & 1) != 0 ? 0xedb88320 ^ (values[n] >> 1) : values[n] >> 1;
    }
    return values;
  }();
  std::uint32_t value = ~0U;
  for (const char byte : bytes)
    value = table[(value ^ static_cast<unsigned char>(byte)) & 0xff] ^ (value >> 8);
  char text[16];
  std::snprintf(text, sizeof text, "%08x", ~value);
  return text;
}

std::string read(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file)
    throw std::runtime_error("cannot open " + path);
  return {std::istreambuf_iterator<char>(file), {}};
}

void files(const std::string& top) {
  std::set<std::string> found;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(top)) {
    if (!entry.is_symlink() && entry.is_regular_file())
      found.insert(entry.path().string());
  }
  for (const std::string& path : found) {
    const std::string bytes = read(path);
    std::cout << crc(bytes) << ' ' << bytes.size() << ' ' << path << '\n';
  }
}

void mapped(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY);
  struct stat info {};
  if (fd < 0 || fstat(fd, &info) != 0)
    throw std::runtime_error("cannot open " + path);
  const auto size = static_cast<std::size_t>(info.st_size);
  void* memory = mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd, 0);
  if (memory == MAP_FAILED)
    throw std::runtime_error("cannot map " + path);
  close(fd);
  std::cout << crc({static_cast<const char*>(memory), size}) << ' ' << size << ' ' << path << '\n';
}

std::set<std::string> resolve(const std::string& name) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* list = nullptr;
  if (const int code = getaddrinfo(name.c_str(), "80", &hints, &list); code != 0)
    throw std::runtime_error(gai_strerror(code));
  std::set<std::string> found;
  for (const addrinfo* entry = list; entry != nullptr; entry = entry->ai_next) {
    char text[128];
    getnameinfo(entry->ai_addr, entry->ai_addrlen, text, sizeof text, nullptr, 0, NI_NUMERICHOST);
    found.insert(text);
  }
  freeaddrinfo(list);
  return found;
}

void get(const std::string& url) {
  const std::string rest = url.substr(7);
  const std::string host = rest.substr(0, rest.find('/'));
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* list = nullptr;
  if (getaddrinfo(host.c_str(), "80", &hints, &list) != 0)
    throw std::runtime_error("no such host");
  const int fd = socket(list->ai_family, SOCK_STREAM, 0);
  if (connect(fd, list->ai_addr, list->ai_addrlen) != 0)
    throw std::runtime_error("cannot connect");
  freeaddrinfo(list);
  const std::string request =
      "GET " + rest.substr(host.size()) + " HTTP/1.0\r\nHost: " + host + "\r\n\r\n";
  if (write(fd, request.data(), request.size()) < 0)
    throw std::runtime_error("cannot send");
  std::string answer;
  std::array<char, 4096> part;
  for (ssize_t count; (count = recv(fd, part.data(), part.size(), 0)) > 0;)
    answer.append(part.data(), static_cast<std::size_t>(count));
  close(fd);
  std::cout << answer.substr(answer.find("\r\n\r\n") + 4);
}

void threads(int count, const std::string& path) {
  std::vector<std::string> results(static_cast<std::size_t>(count));
  std::vector<std::thread> group;
  for (std::string& result : results)
    group.emplace_back([&result, &path] { result = crc(read(path)); });
  for (std::thread& thread : group)
    thread.join();
  const std::set<std::string> different(results.begin(), results.end());
  std::cout << different.size() << ' ' << *different.begin() << '\n';
}

void spawn(char** command) {
  int ends[2];
  if (pipe(ends) != 0)
    throw std::runtime_error("no pipe");
  const pid_t child = vfork();
  if (child == 0) {
    dup2(ends[1], 1);
    close(ends[0]);
    close(ends[1]);
    execvp(command[0], command);
    _exit(127);
  }
  close(ends[1]);
  std::array<char, 4096> part;
  for (ssize_t count; (count = ::read(ends[0], part.data(), part.size())) > 0;)
    std::cout.write(part.data(), count);
}

void run(char** args) {
  const std::string command = args[0];
  if (command == "files") {
    files(args[1]);
  } else if (command == "mapped") {
    mapped(args[1]);
  } else if (command == "stat") {
    struct stat info {};
    if (stat(args[1], &info) != 0)
      throw std::runtime_error("cannot stat");
    std::printf("%lld %o %lld\n", static_cast<long long>(info.st_size), info.st_mode & 07777,
                static_cast<long long>(info.st_mtime));
  } else if (command == "env") {
    std::puts(getenv(args[1]));
  } else if (command == "resolve") {
    std::string line;
    for (const std::string& address : resolve(args[1]))
      line += (line.empty() ? "" : " ") + address;
    std::cout << line << '\n';
  } else if (command == "get") {
    get(args[1]);
  } else if (command == "write") {
    std::ofstream(args[1]) << args[2];
    std::cout << read(args[1]) << '\n';
  } else if (command == "spawn") {
    spawn(args + 1);
  } else if (command == "threads") {
    threads(std::atoi(args[1]), args[2]);
  }
}

}  // namespace

int main(int, char** argv) {
  try {
    run(argv + 1);
  } catch (const std::exception& error) {
    std::cerr << error.what() << '\n';
    return 1;
  }
  return 0;
}
