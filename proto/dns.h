// proto/dns.h — name look-ups in the target's name space, forward and reverse.
#pragma once

#include <string>
#include <vector>

#include "proto/basic.h"
#include "proto/reflect.h"
#include "proto/response_error.h"

namespace mirrord::proto {

// clang-format off

// The last case of these two does not absorb higher indices: an unknown index is a decode error.
struct AddressFamily : Enum<AddressFamily,
  Case<"Ipv4Only">, Case<"Ipv6Only">, Case<"Both">, Case<"Any">,
  Case<"UnknownAddressFamilyFromNewerClient">> {};
static_assert(AddressFamily::kSize == 5);

struct SockType : Enum<SockType,
  Case<"Stream">, Case<"Dgram">, Case<"Any">, Case<"UnknownSockTypeFromNewerClient">> {};
static_assert(SockType::kSize == 4);

// ---- client to server

struct GetAddrInfoRequest { std::string node; };
struct GetAddrInfoRequestV2 {
  std::string node;
  u16 service_port;
  AddressFamily family;
  SockType socktype;
  i32 flags;
  i32 protocol;
};
struct ReverseDnsLookupRequest { Ip ip_address; };

// ---- server to client

struct LookupRecord { std::string name; Ip ip; };
using DnsLookup = std::vector<LookupRecord>;
using GetAddrInfoResponse = Res<DnsLookup>;
struct ReverseDnsLookupResponse { Res<std::string> hostname; };

// clang-format on

extern template struct EnumLife<AddressFamily>;
extern template struct EnumLife<SockType>;

}  // namespace mirrord::proto
