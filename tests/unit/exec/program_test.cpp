// tests/unit/exec/program_test.cpp — finding a program and telling whether the hook can reach it.
#include "applets/program.h"

#include <elf.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>

namespace mirrord {
namespace {

class ProgramTest : public testing::Test {
 protected:
  void SetUp() override {
    char path[] = "/tmp/mirrord-program-XXXXXX";
    directory_ = mkdtemp(path);
  }
  void TearDown() override {
    for (const std::string& file : files_)
      unlink(file.c_str());
    rmdir(directory_.c_str());
  }
  std::string write(const std::string& name, const std::string& bytes, mode_t mode = 0755) {
    const std::string path = directory_ + "/" + name;
    const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    EXPECT_EQ(::write(fd, bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
    close(fd);
    chmod(path.c_str(), mode);
    files_.push_back(path);
    return path;
  }

  // The smallest file that looks like a program: headers of the given types.
  static std::string elf(std::initializer_list<uint32_t> types, bool is_go = false,
                         bool is_foreign = false) {
    Elf64_Ehdr header{};
    std::memcpy(header.e_ident, ELFMAG, SELFMAG);
    header.e_ident[EI_CLASS] = is_foreign ? ELFCLASS32 : ELFCLASS64;
#if defined(__aarch64__)
    header.e_machine = EM_AARCH64;
#else
    header.e_machine = EM_X86_64;
#endif
    header.e_phoff = sizeof header;
    header.e_phentsize = sizeof(Elf64_Phdr);
    header.e_phnum = static_cast<uint16_t>(types.size());
    std::string bytes(reinterpret_cast<const char*>(&header), sizeof header);
    const std::size_t end = sizeof header + types.size() * sizeof(Elf64_Phdr);
    for (const uint32_t type : types) {
      Elf64_Phdr entry{};
      entry.p_type = type;
      entry.p_offset = end;
      entry.p_filesz = 20;
      bytes.append(reinterpret_cast<const char*>(&entry), sizeof entry);
    }
    const Elf64_Nhdr note{4, 4, 4};
    bytes.append(reinterpret_cast<const char*>(&note), sizeof note);
    bytes.append(is_go ? "Go\0\0" : "GNU\0", 4).append("abcd");
    return bytes;
  }

  std::string directory_;
  std::vector<std::string> files_;
};

TEST_F(ProgramTest, IsFoundInPathInOrder) {
  write("tool", "#!/bin/sh\n");
  write("text", "x", 0644);
  const std::string path = "/nowhere:" + directory_ + ":/bin";
  EXPECT_EQ(find_program("tool", path).value_or(""), directory_ + "/tool");
  EXPECT_EQ(find_program("sh", path).value_or(""), "/bin/sh");
  EXPECT_EQ(find_program(directory_ + "/tool", "").value_or(""), directory_ + "/tool");
  EXPECT_EQ(find_program("text", path).error().code, ErrorCode::kPermission);
  EXPECT_EQ(find_program("absent", path).error().what,
            "the program `absent` was not found in PATH");
  EXPECT_EQ(find_program("/bin", path).error().what, "the program `/bin` does not exist");
  EXPECT_EQ(find_program("", path).error().code, ErrorCode::kNotFound);
}

TEST_F(ProgramTest, DynamicStaticAndGo) {
  const auto inspect = [&](const std::string& bytes) {
    return inspect_program(write("program", bytes), "/bin");
  };
  EXPECT_TRUE(inspect(elf({PT_INTERP, PT_LOAD})).is_dynamic);
  EXPECT_FALSE(inspect(elf({PT_LOAD, PT_DYNAMIC})).is_dynamic) << "a static-pie has PT_DYNAMIC";
  EXPECT_TRUE(inspect(elf({PT_LOAD, PT_NOTE}, true)).is_go);
  EXPECT_FALSE(inspect(elf({PT_LOAD, PT_NOTE}, false)).is_go);
  EXPECT_TRUE(inspect(elf({PT_INTERP}, false, true)).is_foreign);
  EXPECT_FALSE(inspect("\x7f"
                       "ELF")
                   .is_dynamic)
      << "cut short";
  EXPECT_FALSE(inspect(elf({PT_LOAD}).substr(0, 70)).is_dynamic);
}

TEST_F(ProgramTest, InterpretersAreFollowed) {
  const std::string binary = write("binary", elf({PT_INTERP}));
  const std::string first = write("first", "#! " + binary + " -x\n");
  const std::string second = write("second", "#!" + first + "\n");
  EXPECT_EQ(inspect_program(second, "").binary, binary);
  EXPECT_TRUE(inspect_program(second, "").is_dynamic);
  const std::string by_env = write("by_env", "#!/usr/bin/env binary\n");
  EXPECT_EQ(inspect_program(by_env, directory_).binary, binary);
  const std::string split = write("split", "#!/usr/bin/env -S binary -a b\n");
  EXPECT_EQ(inspect_program(split, directory_).binary, binary);
  const std::string loop = write("loop", "#!" + directory_ + "/loop\n");
  EXPECT_FALSE(inspect_program(loop, "").is_elf) << "ends";
}

TEST_F(ProgramTest, WarningsNameTheRemedy) {
  const auto warning = [](ProgramKind kind, const std::string& name) {
    kind.binary = "/b";
    const auto all = program_warnings(kind, name);
    return all.empty() ? "" : all[0];
  };
  EXPECT_EQ(warning({.is_elf = true, .is_dynamic = true}, "x"), "");
  EXPECT_NE(warning({.is_elf = true}, "x").find("crt-static"), std::string::npos);
  EXPECT_NE(warning({.is_elf = true, .is_go = true}, "x").find("linkmode=external"),
            std::string::npos);
  EXPECT_NE(
      warning({.is_elf = true, .is_dynamic = true, .is_privileged = true}, "x").find("LD_PRELOAD"),
      std::string::npos);
  EXPECT_NE(warning({.is_elf = true, .is_dynamic = true}, "/usr/bin/docker").find("containers"),
            std::string::npos);
}

}  // namespace
}  // namespace mirrord
