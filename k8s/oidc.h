// k8s/oidc.h — renews an OpenID Connect token at its issuer.
#pragma once

#include <string>

#include "net/error.h"

namespace mirrord::k8s {

struct OidcClient {
  std::string issuer;  // URL
  std::string client_id, client_secret;
  std::string refresh_token;
  std::string ca_pem;  // empty: the system's
};

struct OidcTokens {
  std::string id_token;
  std::string refresh_token;  // the next one; empty: the same
};

// Asks the issuer for its token endpoint, and that for new tokens (OpenID Connect Core §12).
// Blocks, for 30 seconds at the longest.
Result<OidcTokens> renew_tokens(const OidcClient& client);

}  // namespace mirrord::k8s
