// k8s/auth_provider.cpp — tokens of the auth providers that kubectl once had built in.
#include "k8s/auth_provider.h"

#include <algorithm>
#include <memory>
#include <mutex>
#include <utility>

#include "k8s/credential_source.h"
#include "k8s/oidc.h"
#include "k8s/timestamp.h"
#include "net/base64.h"
#include "net/command.h"

namespace mirrord::k8s {
namespace {

using Clock = std::chrono::system_clock;

constexpr std::chrono::seconds kMargin{10};

std::unexpected<Error> has_run_out(const std::string& user, const std::string& why) {
  return fail(ErrorCode::kPermission, "the token of user `" + user + "` has run out" + why,
              "Log in again with the tool that wrote the kubeconfig.");
}

struct OidcState {
  std::mutex mutex;
  std::string user;
  std::string id_token;
  OidcClient client;
};

Result<Credentials> oidc_credentials(OidcState& state, bool refused) {
  const std::lock_guard lock(state.mutex);
  const auto expiry = token_expiry(state.id_token);
  if (state.id_token.empty() || refused || (expiry && Clock::now() + kMargin >= *expiry)) {
    if (state.client.refresh_token.empty() || state.client.issuer.empty()) {
      return has_run_out(state.user, ", and there is no `refresh-token`");
    }
    auto fresh = renew_tokens(state.client);
    if (!fresh) {
      Error error = std::move(fresh.error());
      error.what = "renewing the token of user `" + state.user + "`: " + error.what;
      error.hint = "Log in again with the tool that wrote the kubeconfig.";
      return std::unexpected(std::move(error));
    }
    state.id_token = std::move(fresh->id_token);
    if (!fresh->refresh_token.empty()) {
      state.client.refresh_token = std::move(fresh->refresh_token);
    }
  }
  Credentials made;
  made.bearer_token = state.id_token;
  return made;
}

Result<CredentialSource> oidc_source(JsonView config, const KubeEntry& user) {
  auto state = std::make_shared<OidcState>();
  state->user = user.name;
  state->id_token = config["id-token"].text();
  state->client.issuer = config["idp-issuer-url"].text();
  state->client.client_id = config["client-id"].text();
  state->client.client_secret = config["client-secret"].text();
  state->client.refresh_token = config["refresh-token"].text();
  const KubeEntry issuer{user.name, Json(config), user.file, user.folder};
  MIRRORD_TRY(ca, data_or_file(issuer, "idp-certificate-authority"));
  state->client.ca_pem = std::move(ca);
  return [state](bool refused) { return oidc_credentials(*state, refused); };
}

// The value that a simple JSONPath ("{.credential.access_token}") names.
std::string text_at(JsonView value, std::string_view path) {
  while (!path.empty()) {
    const std::size_t begin = path.find_first_not_of(".{}");
    if (begin == std::string_view::npos) {
      break;
    }
    path.remove_prefix(begin);
    const std::size_t end = std::min(path.find_first_of(".}"), path.size());
    value = value[path.substr(0, end)];
    path.remove_prefix(end);
  }
  return std::string(value.text());
}

struct GcpState {
  std::mutex mutex;
  std::string user;
  std::string token;
  std::optional<Clock::time_point> expires;
  std::string command, arguments, token_key, expiry_key;
};

Status run_gcp_command(GcpState& state) {
  net::Command command;
  command.words.push_back(state.command);
  std::string_view rest = state.arguments;
  while (!rest.empty()) {
    const std::size_t end = std::min(rest.find(' '), rest.size());
    if (end > 0) {
      command.words.emplace_back(rest.substr(0, end));
    }
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  MIRRORD_TRY(output, net::run_command(command));
  if (output.status != 0) {
    return fail(
        ErrorCode::kPermission,
        "`" + state.command + "` " + net::status_text(output.status) + ": " + output.messages);
  }
  MIRRORD_TRY(answer, Json::parse(output.output, "the output of `" + state.command + "`"));
  state.token = text_at(answer.view(), state.token_key);
  state.expires = parse_timestamp(text_at(answer.view(), state.expiry_key));
  if (state.token.empty()) {
    return fail(ErrorCode::kConfig,
                "the output of `" + state.command + "` has no `" + state.token_key + "`");
  }
  return {};
}

Result<Credentials> gcp_credentials(GcpState& state, bool refused) {
  const std::lock_guard lock(state.mutex);
  const bool is_old = state.expires && Clock::now() + kMargin >= *state.expires;
  if (state.token.empty() || is_old || refused) {
    if (state.command.empty()) {
      return has_run_out(state.user, ", and there is no `cmd-path` that would renew it");
    }
    MIRRORD_CHECK_STATUS(run_gcp_command(state));
  }
  Credentials made;
  made.bearer_token = state.token;
  return made;
}

CredentialSource gcp_source(JsonView config, const KubeEntry& user) {
  auto state = std::make_shared<GcpState>();
  state->user = user.name;
  state->token = config["access-token"].text();
  state->expires = parse_timestamp(config["expiry"].text());
  state->command = config["cmd-path"].text();
  state->arguments = config["cmd-args"].text();
  state->token_key = config["token-key"].text("{.access_token}");
  state->expiry_key = config["expiry-key"].text("{.token_expiry}");
  return [state](bool refused) { return gcp_credentials(*state, refused); };
}

}  // namespace

Result<CredentialSource> auth_provider_source(JsonView provider, const KubeEntry& user) {
  const std::string_view name = provider["name"].text();
  if (name == "oidc") {
    return oidc_source(provider["config"], user);
  }
  if (name == "gcp") {
    return gcp_source(provider["config"], user);
  }
  return fail(ErrorCode::kUnsupported,
              "user `" + user.name + "` in " + user.file + " has the auth-provider `" +
                  std::string(name) + "`, which is not supported",
              name == "azure" ? "Convert the kubeconfig with `kubelogin convert-kubeconfig`."
                              : "Use a credential plugin (`exec`) in its place.");
}

std::optional<Clock::time_point> token_expiry(std::string_view token) {
  const std::size_t begin = token.find('.');
  if (begin == std::string_view::npos) {
    return std::nullopt;
  }
  std::string claims(token.substr(begin + 1, token.find('.', begin + 1) - begin - 1));
  std::ranges::replace(claims, '-', '+');
  std::ranges::replace(claims, '_', '/');
  claims.resize((claims.size() + 3) / 4 * 4, '=');
  const auto text = net::from_base64(claims);
  const auto json = text ? Json::parse(*text, "the token") : Result<Json>(Json());
  if (!json || (*json)["exp"].number() <= 0) {
    return std::nullopt;
  }
  constexpr std::int64_t kYear2200 = 7'258'118'400;  // what the clock can express ends later
  return Clock::time_point(std::chrono::seconds(std::min((*json)["exp"].number(), kYear2200)));
}

}  // namespace mirrord::k8s
