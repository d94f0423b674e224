// k8s/proxy_choice.h — which proxy the environment names for a server.
#pragma once

#include <functional>
#include <string>
#include <string_view>

namespace mirrord::k8s {

// Of an https, http, ws or wss URL.
struct UrlParts {
  std::string scheme;
  std::string host;                             // without brackets
  std::string port;                             // given, or that of the scheme
  std::string prefix;                           // the path, without slashes at its end
  [[nodiscard]] std::string authority() const;  // host:port as a URL has it
};
UrlParts split_url(std::string_view url);

// HTTPS_PROXY or https_proxy (HTTP_PROXY, http_proxy for http://), unless NO_PROXY or no_proxy
// names the host: its parts are `*`, a domain (with those below it; only those if it begins with a
// dot), an address, a network `10.0.0.0/8`, each with an optional port. This machine itself is
// never reached by a proxy. Empty: none.
using Variables = std::function<std::string(const char* name)>;  // empty when not set
std::string proxy_of_environment(const UrlParts& server, const Variables& variables);

}  // namespace mirrord::k8s
