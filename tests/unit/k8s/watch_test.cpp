// tests/unit/k8s/watch_test.cpp — lists, changes, resumptions and lost pasts.
#include "k8s/watch.h"

#include <gtest/gtest.h>

#include "tests/unit/k8s/api_server.h"

namespace mirrord::k8s {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kPatience{20'000};

std::string pod(const std::string& name, const std::string& version, const std::string& uid = {}) {
  return R"({"metadata":{"namespace":"n","name":")" + name + R"(","uid":")" +
         (uid.empty() ? "uid-" + name : uid) + R"(","resourceVersion":")" + version + "\"}}";
}

std::string list(const std::string& version, const std::vector<std::string>& pods,
                 const std::string& next = {}) {
  std::string items;
  for (const std::string& item : pods) {
    items += (items.empty() ? "" : ",") + item;
  }
  return R"({"kind":"PodList","metadata":{"resourceVersion":")" + version + R"(","continue":")" +
         next + R"("},"items":[)" + items + "]}";
}

std::string event(const std::string& type, const std::string& object) {
  return R"({"type":")" + type + R"(","object":)" + object + "}\n";
}

constexpr char kGone[] = R"({"kind":"Status","code":410,"reason":"Expired","message":"too old"})";

// Everything that a watch reports, in one line.
class Watching {
 public:
  Watching(const TestApiServer& server, WatchRequest request)
      : client_(loop_, ClientConfig{.server = server.url(), .context = "test"}) {
    WatchHandlers handlers;
    handlers.event = [this](WatchEvent what, JsonView object) {
      constexpr std::string_view kSigns = "+~-";
      told_ += std::string(told_.empty() ? "" : " ") + kSigns[static_cast<std::size_t>(what)] +
               std::string(object["metadata"]["name"].text());
      if (object["metadata"]["uid"].text() !=
          "uid-" + std::string(object["metadata"]["name"].text()))
        told_ += "/" + std::string(object["metadata"]["uid"].text());
    };
    handlers.synced = [this] { told_ += told_.empty() ? "synced" : " synced"; };
    handlers.failed = [this](ApiError why) {
      told_ += told_.empty() ? "failed" : " failed";
      why_ = std::move(why);
    };
    watch_ = std::make_unique<Watch>(client_, std::move(request), std::move(handlers));
  }

  // What was told when it became `expected`, or after a long time.
  std::string until(const std::string& expected) {
    client_.run_until([&] { return told_ == expected; }, kPatience);
    return told_;
  }
  const ApiError& why() const { return why_; }

 private:
  net::Loop loop_;
  ApiClient client_;
  std::string told_;
  ApiError why_;
  std::unique_ptr<Watch> watch_;
};

TEST(Watches, ListFirstAndThenFollow) {
  TestApiServer server([](const TestRequest& request, TestConnection& connection) {
    if (request.number == 1) {
      connection.answer(200, list("5", {pod("a", "3")}, "more"));
    } else if (request.number == 2) {
      connection.answer(200, list("5", {pod("b", "4")}));
    } else {
      connection.open_stream();
      connection.chunk(event("ADDED", pod("c", "6")) + event("MODIFIED", pod("a", "7")));
      connection.chunk(event("DELETED", pod("b", "8")));
      connection.wait_for_client();
    }
  });
  Watching watching(
      server,
      {.path = "/api/v1/pods", .label_selector = "app=x", .field_selector = "spec.nodeName=y"});
  EXPECT_EQ(watching.until("+a +b synced +c ~a -b"), "+a +b synced +c ~a -b");
  const auto requests = server.requests();
  ASSERT_EQ(requests.size(), 3U);
  EXPECT_EQ(requests[0].path,
            "/api/v1/pods?limit=500&labelSelector=app%3Dx&fieldSelector=spec.nodeName%3Dy");
  EXPECT_EQ(requests[1].path, requests[0].path + "&continue=more");
  EXPECT_EQ(requests[2].path,
            "/api/v1/pods?watch=true&allowWatchBookmarks=true&timeoutSeconds=60&resourceVersion=5"
            "&labelSelector=app%3Dx&fieldSelector=spec.nodeName%3Dy");
}

TEST(Watches, ResumeWhereTheyEndedAlsoAtABookmark) {
  TestApiServer server([](const TestRequest& request, TestConnection& connection) {
    if (request.number == 1) {
      connection.open_stream();
      connection.chunk(event("ADDED", pod("a", "11")));
      connection.chunk(event("BOOKMARK", R"({"metadata":{"resourceVersion":"20"}})"));
      connection.end_stream();
    } else if (request.number == 2) {
      connection.open_stream();
      connection.chunk(event("ADDED", pod("b", "21")) + R"({"type":"ADDED","obj)");
      connection.reset();
    } else {
      connection.open_stream();
      connection.chunk(event("ADDED", pod("c", "22")));
      connection.wait_for_client();
    }
  });
  Watching watching(server, {.path = "/api/v1/pods", .resource_version = "10"});
  EXPECT_EQ(watching.until("+a +b +c"), "+a +b +c");
  const auto requests = server.requests();
  ASSERT_GE(requests.size(), 3U);
  EXPECT_NE(requests[0].path.find("resourceVersion=10"), std::string::npos);
  EXPECT_NE(requests[1].path.find("resourceVersion=20"), std::string::npos);
}

TEST(Watches, ListAgainWhenThePastIsGone) {
  for (const bool as_event : {true, false}) {
    TestApiServer server([&](const TestRequest& request, TestConnection& connection) {
      if (request.number == 1) {
        connection.answer(200, list("5", {pod("a", "1"), pod("b", "2"), pod("c", "3")}));
      } else if (request.number == 2 && as_event) {
        connection.open_stream();
        connection.chunk(event("ERROR", kGone));
        connection.end_stream();
      } else if (request.number == 2) {
        connection.answer(410, kGone);
      } else if (request.number == 3) {
        connection.answer(200, list("9", {pod("b", "8"), pod("c", "7", "other"), pod("d", "8")}));
      } else {
        connection.open_stream();
        connection.wait_for_client();
      }
    });
    Watching watching(server, {.path = "/api/v1/pods"});
    const std::string all = "+a +b +c synced ~b -c +c/other +d -a";
    EXPECT_EQ(watching.until(all), all);
  }
}

TEST(Watches, EndWithWhatCannotPass) {
  TestApiServer server([](const TestRequest&, TestConnection& connection) {
    connection.answer(403,
                      R"({"kind":"Status","reason":"Forbidden","message":"User x cannot list"})");
  });
  Watching watching(server, {.path = "/api/v1/namespaces/n/pods"});
  EXPECT_EQ(watching.until("failed"), "failed");
  EXPECT_EQ(watching.why().status, 403);
  EXPECT_NE(watching.why().hint.find("verbs [\"list\"]"), std::string::npos);
  EXPECT_EQ(server.requests().size(), 1U);
}

TEST(Watches, HavePatience) {
  TestApiServer server([](const TestRequest& request, TestConnection& connection) {
    if (request.number == 1) {
      connection.answer(200, list("5", {pod("a", "1")}));
    } else {
      connection.reset();
    }
  });
  Watching watching(server, {.path = "/api/v1/pods", .patience = milliseconds(600)});
  EXPECT_EQ(watching.until("+a synced failed"), "+a synced failed");
  EXPECT_EQ(watching.why().code, ErrorCode::kDisconnected);
  EXPECT_GE(server.requests().size(), 3U);
}

TEST(Watches, NonsenseIsAnError) {
  TestApiServer server([](const TestRequest& request, TestConnection& connection) {
    if (request.number % 2 == 1) {
      connection.answer(200, list("5", {}));
    } else {
      connection.open_stream();
      connection.chunk("{\"type\": 7\n");
      connection.wait_for_client();
    }
  });
  Watching watching(server, {.path = "/api/v1/pods", .patience = milliseconds(500)});
  EXPECT_EQ(watching.until("synced failed"), "synced failed");
  EXPECT_EQ(watching.why().code, ErrorCode::kPeer);
}

TEST(Watches, TheirCallbackMayDestroyThem) {
  TestApiServer server([](const TestRequest& request, TestConnection& connection) {
    if (request.number == 1) {
      connection.answer(200, list("5", {pod("a", "1"), pod("b", "2")}));
    } else {
      connection.open_stream();
      connection.wait_for_client();
    }
  });
  net::Loop loop;
  ApiClient client(loop, ClientConfig{.server = server.url()});
  std::unique_ptr<Watch> watch;
  int events = 0;
  WatchHandlers handlers;
  handlers.event = [&](WatchEvent, JsonView) {
    ++events;
    watch.reset();
  };
  watch =
      std::make_unique<Watch>(client, WatchRequest{.path = "/api/v1/pods"}, std::move(handlers));
  EXPECT_TRUE(client.run_until([&] { return watch == nullptr; }, kPatience));
  EXPECT_EQ(events, 1);
}

}  // namespace
}  // namespace mirrord::k8s
