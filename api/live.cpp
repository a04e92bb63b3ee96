// api/live: one follower is a body that waits for news; see the header.
#include "api/live.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "core/limits.hpp"

namespace mailherd::api {

class live_news::follower final : public body_source, public std::enable_shared_from_this<live_news::follower> {
 public:
  follower(std::shared_ptr<api::loop> loop, std::optional<tenant_id> only)
      : loop_(std::move(loop)), only_(only), ends_(mono_clock::now() + limits::live_life) {}

  [[nodiscard]] bool hears(tenant_id tenant) const { return !tenant || !only_ || *only_ == tenant; }

  // On the HTTP thread, as everything here: the server asks for the next piece when the last is with the client.
  void next(std::function<void(result<std::string>)> on_piece) override {
    waiting_ = std::move(on_piece);
    ++turn_;
    if (!greeted_) {
      greeted_ = true;
      return give("retry: 2000\nevent: hello\ndata: {}\n\n");
    }
    if (ended_) return give({});
    if (has_news()) return gather();
    loop_->after(limits::live_heartbeat, [weak = weak_from_this(), turn = turn_] {
      const auto self = weak.lock();
      if (self && self->waiting_ && self->turn_ == turn) self->give(mono_clock::now() >= self->ends_ ? "" : ": alive\n\n");
    });
  }

  void channel(tenant_id tenant, channel_id channel) {
    if (!tenant || !channel)
      all_ = true;
    else
      channels_.emplace(tenant, channel);
    heard();
  }
  void mail(tenant_id tenant) {
    if (!tenant)
      all_ = true;
    else
      mail_.insert(tenant);
    heard();
  }
  void end() {
    ended_ = true;
    if (waiting_) give({});
  }

 private:
  [[nodiscard]] bool has_news() const { return all_ || !channels_.empty() || !mail_.empty(); }

  void heard() {
    if (channels_.size() + mail_.size() > limits::live_news) all_ = true;
    if (all_) {
      channels_.clear();
      mail_.clear();
    }
    if (waiting_) gather();
  }

  // A burst of changes is one piece.
  void gather() {
    if (gathering_) return;
    gathering_ = true;
    loop_->after(limits::live_gather, [weak = weak_from_this()] {
      const auto self = weak.lock();
      if (!self) return;
      self->gathering_ = false;
      if (self->waiting_ && self->has_news()) self->give(self->take_news());
    });
  }

  std::string take_news() {
    std::string out;
    if (std::exchange(all_, false)) out += "event: all\ndata: {}\n\n";
    for (const auto& [tenant, channel] : std::exchange(channels_, {}))
      out += fmt::format("event: channel\ndata: {{\"tenant\":\"{}\",\"channel\":\"{}\"}}\n\n", to_string(tenant), to_string(channel));
    for (const auto& tenant : std::exchange(mail_, {})) out += fmt::format("event: mail\ndata: {{\"tenant\":\"{}\"}}\n\n", to_string(tenant));
    return out;
  }

  void give(std::string piece) {
    ++turn_;
    if (const auto to = std::exchange(waiting_, nullptr)) to(std::move(piece));
  }

  std::shared_ptr<api::loop> loop_;
  const std::optional<tenant_id> only_;
  const mono_time ends_;  // who asks again is asked again who he is
  std::function<void(result<std::string>)> waiting_;
  std::set<std::pair<tenant_id, channel_id>> channels_;
  std::set<tenant_id> mail_;
  std::uint64_t turn_ = 0;  // a heartbeat that belongs to an earlier wait does nothing
  bool all_ = false, greeted_ = false, gathering_ = false, ended_ = false;
};

std::shared_ptr<body_source> live_news::follow(std::optional<tenant_id> only) {
  std::erase_if(followers_, [](const auto& f) { return f.expired(); });
  if (stopping_ || followers_.size() >= limits::live_streams) return nullptr;
  auto fresh = std::make_shared<follower>(loop_, only);
  followers_.push_back(fresh);
  return fresh;
}

template <class Tell>
void live_news::each(tenant_id tenant, Tell tell) {
  const auto now = followers_;  // telling may end one
  for (const auto& weak : now)
    if (const auto f = weak.lock(); f && f->hears(tenant)) tell(*f);
}

void live_news::channel(tenant_id tenant, channel_id channel) {
  each(tenant, [&](follower& f) { f.channel(tenant, channel); });
}

void live_news::mail(tenant_id tenant) {
  each(tenant, [&](follower& f) { f.mail(tenant); });
}

void live_news::stop() {
  stopping_ = true;
  each({}, [](follower& f) { f.end(); });
}

}  // namespace mailherd::api
