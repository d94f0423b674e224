// k8s/credential_source.cpp — tokens, files, certificates and plugins behind one function.
#include "k8s/credential_source.h"

#include <chrono>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>

#include "k8s/auth_provider.h"
#include "net/base64.h"

namespace mirrord::k8s {
namespace {

using SystemClock = std::chrono::system_clock;
using SteadyClock = std::chrono::steady_clock;

constexpr std::chrono::seconds kFileAge{60};
constexpr std::chrono::seconds kPluginMargin{60};

// A source of its own for each user, asked by one thread at a time.
template <class State, class Get>
CredentialSource locked(State state, Get get) {
  struct Shared {
    std::mutex mutex;
    State state;
  };
  auto shared = std::make_shared<Shared>();
  shared->state = std::move(state);
  return [shared, get](bool refused) -> Result<Credentials> {
    const std::lock_guard lock(shared->mutex);
    return get(shared->state, refused);
  };
}

CredentialSource exec_source(ExecPlugin plugin) {
  struct State {
    ExecPlugin plugin;
    std::optional<ExecCredential> last;
  };
  return locked(State{std::move(plugin), {}},
                [](State& state, bool refused) -> Result<Credentials> {
                  const bool is_old = state.last && state.last->expires &&
                                      SystemClock::now() + kPluginMargin >= *state.last->expires;
                  if (!state.last || is_old || refused) {
                    MIRRORD_TRY(fresh, run_exec_plugin(state.plugin));
                    state.last = std::move(fresh);
                  }
                  return state.last->credentials;
                });
}

std::string absolute(const KubeEntry& entry, std::string_view path) {
  return path.starts_with('/') ? std::string(path) : entry.folder + std::string(path);
}

// Certificate and key, from the entry or from files that are read again once they were refused.
struct CertificateState {
  KubeEntry user;
  std::optional<Credentials> last;
};

Result<Credentials> certificate(CertificateState& state, bool refused) {
  if (!state.last || refused) {
    Credentials fresh;
    MIRRORD_TRY(chain, data_or_file(state.user, "client-certificate"));
    MIRRORD_TRY(key, data_or_file(state.user, "client-key"));
    if (chain.empty() != key.empty()) {
      return fail(ErrorCode::kConfig, "user `" + state.user.name + "` has a client " +
                                          (key.empty() ? "certificate without its key"
                                                       : "key without its certificate"));
    }
    fresh.client_certificate = std::move(chain);
    fresh.client_key = std::move(key);
    state.last = std::move(fresh);
  }
  return *state.last;
}

// What proves who the user is, besides a certificate.
Result<CredentialSource> identity_source(const KubeEntry& user, ExecClusterInfo cluster) {
  const JsonView body = user.body.view();
  if (body["auth-provider"].is_present()) {
    return auth_provider_source(body["auth-provider"], user);
  }
  Credentials fixed;
  fixed.username = body["username"].text();
  fixed.password = body["password"].text();
  if (fixed.username.empty()) {
    fixed.bearer_token = body["token"].text();
  }
  if (fixed.username.empty() && fixed.bearer_token.empty()) {
    if (const std::string_view file = body["tokenFile"].text(); !file.empty()) {
      return token_file_source(absolute(user, file));
    }
    if (body["exec"].is_present()) {
      MIRRORD_TRY(plugin, parse_exec_plugin(body["exec"], user.name, user.folder));
      if (plugin.cluster) {
        plugin.cluster = std::move(cluster);
      }
      return exec_source(std::move(plugin));
    }
  }
  return [fixed](bool) -> Result<Credentials> { return fixed; };
}

}  // namespace

Result<std::string> data_or_file(const KubeEntry& entry, std::string_view key) {
  const std::string name(key);
  if (const JsonView data = entry.body[name + "-data"]; !data.text().empty()) {
    auto bytes = net::from_base64(data.text());
    if (!bytes) {
      return fail(ErrorCode::kConfig,
                  entry.file + ": `" + name + "-data` of `" + entry.name + "` is not valid Base64");
    }
    return std::move(*bytes);
  }
  const std::string_view path = entry.body[name].text();
  if (path.empty()) {
    return std::string();
  }
  auto text = read_file(absolute(entry, path));
  if (!text) {
    text.error().what += " (the `" + name + "` of `" + entry.name + "` in " + entry.file + ")";
  }
  return text;
}

CredentialSource token_file_source(std::string path) {
  struct State {
    std::string path;
    std::string token;
    std::optional<SteadyClock::time_point> read_at;
  };
  return locked(State{std::move(path), {}, {}},
                [](State& state, bool refused) -> Result<Credentials> {
                  const auto now = SteadyClock::now();
                  if (!state.read_at || refused || now - *state.read_at >= kFileAge) {
                    MIRRORD_TRY(text, read_file(state.path));
                    const std::size_t end = text.find_last_not_of(" \t\r\n");
                    state.token = text.substr(0, end + 1);  // npos + 1 is 0
                    state.read_at = now;
                  }
                  Credentials made;
                  made.bearer_token = state.token;
                  return made;
                });
}

Result<CredentialSource> credential_source(const KubeEntry* user, ExecClusterInfo cluster) {
  if (user == nullptr) {
    return [](bool) -> Result<Credentials> { return Credentials(); };
  }
  MIRRORD_TRY(identity, identity_source(*user, std::move(cluster)));
  CertificateState held{*user, {}};
  MIRRORD_TRY(first, certificate(held, true));
  if (first.client_certificate.empty()) {
    return identity;
  }
  struct State {
    CertificateState held;
    CredentialSource identity;
  };
  return locked(State{std::move(held), std::move(identity)},
                [](State& state, bool refused) -> Result<Credentials> {
                  MIRRORD_TRY(made, state.identity(refused));
                  if (made.client_certificate.empty()) {
                    MIRRORD_TRY(own, certificate(state.held, refused));
                    made.client_certificate = std::move(own.client_certificate);
                    made.client_key = std::move(own.client_key);
                  }
                  return made;
                });
}

}  // namespace mirrord::k8s
