// applets/agent_client.cpp — opens the way to the agent and keeps it open.
#include "applets/agent_client.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <string>
#include <utility>

#include "applets/config/load.h"
#include "applets/exec.h"
#include "applets/target_source.h"

namespace mirrord {

using std::chrono::milliseconds;
using std::chrono::seconds;

namespace {

// For the goodbye to pass through what carries the stream.
constexpr milliseconds kLastWords{500};

}  // namespace

AgentClient::~AgentClient() {
  reconnector_.reset();  // in a cluster this removes the agent
  connector_.reset();
  link_.reset();  // the agent ends when its stream closes; then its process can be waited for
}

Status AgentClient::open(const config::ResolvedConfig& config, Progress& progress,
                         const CommandLog& log, Handlers handlers) {
  handlers_ = std::move(handlers);
  const milliseconds timeout = config::setting_seconds(config.agent.startup_timeout_seconds);
  MIRRORD_TRY(source, target_source(config, log));
  Progress step =
      progress.subtask(source.address.empty() ? "starting the agent"
                                              : "connecting to the agent at " + source.address);
  intproxy::AgentSourceReport report;
  report.progress = [&step](intproxy::StartStep kind, std::string_view text) {
    kind == intproxy::StartStep::kWarning ? step.warning(text) : step.info(text);
  };
  MIRRORD_TRY(stream, intproxy::open_agent(loop_, std::move(source), timeout, std::move(report)));
  process_ = std::move(stream.process);
  link_ = std::make_unique<intproxy::AgentLink>(
      loop_, std::move(stream.socket), std::move(stream.peer_name),
      intproxy::AgentLink::Options{
          timeout,
          std::max<milliseconds>(config::setting_seconds(config.proxy.ping_interval_seconds),
                                 milliseconds(1000))});
  link_->start({.ready =
                    [this] {
                      is_ready_ = true;
                      loop_.stop();
                    },
                .lost =
                    [this](const Error& why) {
                      loop_.stop();
                      if (is_ready_ && handlers_.lost) {
                        handlers_.lost(why);
                      }
                    },
                .log = [](proto::LogMessage&&) {},
                .interrupted =
                    [this](const Error& why) {
                      if (handlers_.interrupted && !reconnector_->is_working()) {
                        handlers_.interrupted(why);
                      }
                      reconnector_->broken(why);
                    },
                .restored =
                    [this](const intproxy::AgentLink::Restored&) {
                      reconnector_->restored();
                      if (handlers_.restored) {
                        handlers_.restored();
                      }
                    }});
  MIRRORD_CHECK_STATUS(wait_until_ready(timeout));
  if (config.proxy.reconnect_timeout_seconds == 0) {
    connector_ = std::move(stream.connector);  // the stream may need it
  }
  if (stream.connector) {
    link_->allow_resume();
    if (stream.connector->replaces_agents()) {
      link_->survive_close();
    }
    reconnector_ = std::make_unique<intproxy::Reconnector>(
        loop_, *link_, std::move(stream.connector),
        config::setting_seconds(config.proxy.reconnect_timeout_seconds),
        intproxy::Reconnector::Handlers{.log = [](const std::string&) {}, .tell = print_warning});
  }
  step.success();
  return {};
}

Status AgentClient::wait_until_ready(milliseconds timeout) {
  bool is_late = false;
  net::Timer timer(loop_);
  timer.start(timeout, [&] {
    is_late = true;
    loop_.stop();
  });
  while (!is_ready_ && !link_->is_lost() && !is_late) {
    loop_.run();
  }
  if (is_ready_) {
    return {};
  }
  if (is_late) {
    return fail(ErrorCode::kTimeout, "wait for the agent: no answer in time",
                "Raise agent.startup_timeout, or look at the agent's log.");
  }
  Error error = link_->loss();
  if (process_) {
    const std::string words = process_->last_words();
    if (!words.empty()) {
      error = intproxy::start_failure(words);
    }
  }
  return std::unexpected(std::move(error));
}

void AgentClient::leave() {
  handlers_ = {};
  if (reconnector_) {
    reconnector_->stop();
  }
  if (link_) {
    link_->leave();
  }
  if (reconnector_) {
    reconnector_->finish(kLastWords);
  } else if (connector_) {
    connector_->finish(kLastWords);
  }
}

}  // namespace mirrord
