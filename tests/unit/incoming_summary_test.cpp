// tests/unit/incoming_summary_test.cpp — what people are told about the traffic that they take.
#include "applets/incoming_summary.h"

#include <gtest/gtest.h>

namespace mirrord {
namespace {

using Lines = std::vector<std::string>;

TEST(IncomingSummary, SaysWhatIsTakenAndWhere) {
  config::IncomingRules rules;
  EXPECT_EQ(incoming_summary(rules),
            Lines{"mirrors everything that reaches every port that the program listens on"});
  rules.mode = config::IncomingMode::kSteal;
  rules.ports = {80, 443};
  rules.port_mapping = {{8080, 80}};
  EXPECT_EQ(incoming_summary(rules),
            (Lines{"steals everything that reaches ports 80, 443 once the program listens there",
                   "the program's port for the target's: 8080 is 80"}));
  rules.mode = config::IncomingMode::kOff;
  EXPECT_EQ(incoming_summary(rules), Lines{});
}

TEST(IncomingSummary, NamesTheFilterAndItsPorts) {
  config::IncomingRules rules;
  rules.mode = config::IncomingMode::kSteal;
  rules.ignore_ports = {9000};
  rules.http_filter = proto::HttpFilter::make<"Header">("x-user: me");
  EXPECT_EQ(incoming_summary(rules),
            Lines{"steals HTTP requests with header ~ `x-user: me` that reach every port that the "
                  "program listens on but port 9000; the target keeps all else"});
  rules.http_filter_ports = {80};
  EXPECT_EQ(incoming_summary(rules),
            Lines{"steals HTTP requests with header ~ `x-user: me` on port 80; on other ports "
                  "everything, of every port that the program listens on but port 9000"});
}

}  // namespace
}  // namespace mirrord
