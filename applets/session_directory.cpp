// applets/session_directory.cpp — removes the directory and its files, also in a signal handler.
#include "applets/session_directory.h"

#include <limits.h>
#include <unistd.h>

#include <cstdio>

#include "proto/local.h"

namespace mirrord {
namespace {

// For the signal handler.
char g_directory[PATH_MAX];
char g_settings[PATH_MAX];
char g_environment[PATH_MAX];

}  // namespace

SessionDirectory::SessionDirectory(const std::string& path) {
  std::snprintf(g_directory, sizeof g_directory, "%s", path.c_str());
  std::snprintf(g_settings, sizeof g_settings, "%s/%s", path.c_str(), local::kSettingsFile);
  std::snprintf(g_environment, sizeof g_environment, "%s/%s", path.c_str(),
                local::kEnvironmentFile);
  for (std::size_t i = 0; i < kSignals.size(); ++i) {
    struct sigaction action {};
    action.sa_handler = on_signal;
    action.sa_flags = static_cast<int>(SA_RESETHAND);
    sigaction(kSignals[i], nullptr, &before_[i]);
    if (before_[i].sa_handler != SIG_IGN)
      sigaction(kSignals[i], &action, nullptr);
  }
}

SessionDirectory::~SessionDirectory() {
  restore_signals();
  remove();
}

void SessionDirectory::release() {
  restore_signals();
  g_directory[0] = '\0';
}

// Only what a signal handler may call.
void SessionDirectory::remove() {
  if (g_directory[0] == '\0')
    return;
  unlink(g_settings);
  unlink(g_environment);
  rmdir(g_directory);
}

void SessionDirectory::on_signal(int number) {
  remove();
  raise(number);  // the action is the default one again
}

void SessionDirectory::restore_signals() {
  for (std::size_t i = 0; i < kSignals.size(); ++i)
    sigaction(kSignals[i], &before_[i], nullptr);
}

}  // namespace mirrord
