// net/http/translate.h — heads of one HTTP version as another one writes them (RFC 9113 §8, RFC 9110 §7).
#pragma once

#include "net/http/message.h"

namespace mirrord::net::http {

// Removes what concerns one connection only: Connection and the fields it names, Keep-Alive, Proxy-Connection,
// Transfer-Encoding, Upgrade, TE other than "trailers". What HTTP/2 must not carry.
void remove_hop_by_hop(Headers& headers);

// A request as HTTP/1 writes it: Host from the authority, cookies in one field, target never empty.
[[nodiscard]] RequestHead to_http1(const RequestHead& head);
// A request as HTTP/2 writes it: lower-case names, authority from Host or the target, `default_scheme` where
// the target has none.
[[nodiscard]] RequestHead to_http2(const RequestHead& head,
                                   std::string_view default_scheme = "http");
[[nodiscard]] ResponseHead to_http1(const ResponseHead& head);
[[nodiscard]] ResponseHead to_http2(const ResponseHead& head);

}  // namespace mirrord::net::http
