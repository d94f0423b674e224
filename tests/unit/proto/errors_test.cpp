// tests/unit/proto/errors_test.cpp — errno to wire errors and back, against the recorded table.
#include "proto/errors.h"

#include <errno.h>
#include <gtest/gtest.h>
#include <netdb.h>

#include <string>

#include "tests/unit/proto/vectors.h"

namespace mirrord::proto {
namespace {

// The bytes of an error alone: those of a reply behind its variant and result tags.
std::string error_bytes(ResponseError error) {
  const auto message = DaemonMessage::make<"File">(
      FileResponse::make<"MakeDir">(Res<Unit>(std::unexpected(std::move(error)))));
  return encoded(message).substr(3);
}

TEST(Errors, EveryErrnoBecomesTheRecordedBytesAndComesBack) {
  const Json vectors = load_vectors("errno.json");
  int numbers = 0;
  for (const cJSON* vector = vectors->child; vector != nullptr; vector = vector->next) {
    const cJSON* number = member(vector, "errno");
    if (!cJSON_IsNumber(number))
      continue;
    ++numbers;
    const ResponseError error = from_errno(number->valueint);
    EXPECT_EQ(hex(error_bytes(error)), text_of(vector, "hex")) << number->valueint;
    EXPECT_EQ(to_errno(error), number->valueint);
  }
  EXPECT_EQ(numbers, 133);
}

TEST(Errors, KindsWithoutNumberDecodeAndBecomeEio) {
  const Json vectors = load_vectors("errno.json");
  int kinds = 0;
  for (const cJSON* vector = vectors->child; vector != nullptr; vector = vector->next) {
    if (cJSON_IsNumber(member(vector, "errno")))
      continue;
    ++kinds;
    DaemonMessage message;
    const std::string bytes = "\x06\x0E\x01" + bytes_of(vector);
    ASSERT_TRUE(decode(as_bytes(bytes), message));
    const auto& reply = message.get<"File">().get<"MakeDir">();
    EXPECT_EQ(to_errno(reply.error()), EIO);
    EXPECT_EQ(encoded(message), bytes);
  }
  EXPECT_EQ(kinds, 5);
}

TEST(Errors, OtherErrorsHaveTheErrnoThatProgramsExpect) {
  EXPECT_EQ(to_errno(ResponseError::make<"NotFound">(3u)), ENOENT);
  EXPECT_EQ(to_errno(ResponseError::make<"OpenLocal">()), ENOENT);
  EXPECT_EQ(to_errno(ResponseError::make<"NotDirectory">(3u)), ENOTDIR);
  EXPECT_EQ(to_errno(ResponseError::make<"NotFile">(3u)), EISDIR);
  EXPECT_EQ(to_errno(ResponseError::make<"IdsExhausted">("fds")), ENOMEM);
  EXPECT_EQ(to_errno(ResponseError::make<"StripPrefix">("x")), EINVAL);
  EXPECT_EQ(to_errno(ResponseError::make<"PortAlreadyStolen">(Port{80})), EINVAL);
  EXPECT_EQ(to_errno(ResponseError::make<"NotImplemented">()), 0);
  EXPECT_EQ(to_errno(ResponseError::make<"SystemFailure">(true, 1u, "lost")), EIO);
  const auto address = SocketAddress::make<"Ip">(*SockAddr::parse("1.2.3.4:5"));
  EXPECT_EQ(to_errno(ResponseError::make<"Remote">(RemoteError::make<"ConnectTimedOut">(address))),
            ENETUNREACH);
  EXPECT_EQ(to_errno(ResponseError::make<"Remote">(RemoteError::make<"InvalidAddress">(address))),
            EINVAL);
}

TEST(Errors, LookUpErrorsHaveTheirGetaddrinfoCode) {
  const auto lookup = [](ResolveErrorKindInternal kind) {
    return to_gai_error(ResponseError::make<"DnsLookup">(std::move(kind)));
  };
  EXPECT_EQ(lookup(ResolveErrorKindInternal::make<"Timeout">()), EAI_AGAIN);
  EXPECT_EQ(lookup(ResolveErrorKindInternal::make<"NoRecordsFound">(u16{3})), EAI_NONAME);
  EXPECT_EQ(lookup(ResolveErrorKindInternal::make<"Message">("refused")), EAI_FAIL);
  EXPECT_EQ(lookup(ResolveErrorKindInternal::make<"NotFound">()), EAI_FAIL);
  EXPECT_EQ(to_gai_error(from_errno(ENOENT)), EAI_FAIL);
}

TEST(Errors, AreDescribedInOneLine) {
  EXPECT_EQ(describe(from_errno(ENOENT)), "No such file or directory");
  EXPECT_EQ(describe(ResponseError::make<"RemoteIO">(
                std::nullopt, ErrorKindInternal::make<"Unknown">("the agent was lost"))),
            "the agent was lost");
  EXPECT_EQ(describe(ResponseError::make<"ForbiddenWithReason">(
                BlockedAction::make<"Mirror">(Port{80}), "prod", "no mirroring at night")),
            "forbidden by policy prod: no mirroring at night");
}

}  // namespace
}  // namespace mirrord::proto
