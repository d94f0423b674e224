// k8s/auth_provider.h — the old `auth-provider` entries of a kubeconfig: oidc and gcp.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

#include "k8s/client_config.h"
#include "k8s/kubeconfig.h"
#include "net/error.h"

namespace mirrord::k8s {

// oidc: the `id-token`, renewed with the `refresh-token` when it has run out; gcp: the
// `access-token`, renewed by `cmd-path`. Others are refused with what to use instead.
Result<CredentialSource> auth_provider_source(JsonView provider, const KubeEntry& user);

// When a JSON web token (RFC 7519 §4.1.4) runs out, as it says itself.
std::optional<std::chrono::system_clock::time_point> token_expiry(std::string_view token);

}  // namespace mirrord::k8s
