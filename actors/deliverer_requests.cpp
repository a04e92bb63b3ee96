// actors/deliverer_requests: what the deliverer sends, and what becomes of the answers.
#include <utility>

#include "actors/deliverer.hpp"

namespace mailherd::actors {

using store::webhook_key;

void deliverer_state::send(const webhook_key& key, place& p, told_event event) {
  const auto began = self->clock().now();
  const auto number = ++requests;
  caf::weak_actor_ptr me{self->ctrl()};
  const auto done = [this, me, number](result<net::http_reply> answer) {
    resume(me, [this, number, answer = std::move(answer)] { on_answer(number, answer); });
  };
  under_way.emplace(number, sent{key, p.serial, event, began});
  if (!event.body) return done(fail(failure::not_found, "the event is no more"));
  const auto& to = p.at->settings();
  const auto now = env->wall_now();
  std::vector<const secret<>*> secrets{&to.signing};
  if (!to.old_signing.empty() && to.old_signing_until && *to.old_signing_until > now) secrets.push_back(&to.old_signing);
  net::http_request request;
  request.method = "POST";
  request.url = to.spec.url;
  request.headers = signed_headers(event.id, now, *event.body, secrets);
  request.headers.emplace_back("content-type", "application/json");
  if (event.lane.channel)  // what a router, or a log with partitions, wants to know without reading the body
    request.headers.insert(request.headers.end(),
                           {{"webhook-channel", to_string(event.lane.channel)}, {"webhook-sequence", std::to_string(event.sequence)}});
  request.body = secret<>(*event.body);
  request.max_reply_bytes = limits::webhook_excerpt_bytes;
  request.cut_reply = true;
  request.repeatable = true;  // its id makes a repetition harmless
  env->webhooks->send(std::move(request), deadline::after(began, limits::webhook_deadline), done);
}

void deliverer_state::on_answer(std::uint64_t number, const result<net::http_reply>& answer) {
  const auto at = under_way.find(number);
  if (at == under_way.end()) return;  // interrupted
  const auto [key, serial, event, began] = std::move(at->second);
  under_way.erase(at);
  const auto v = judge(answer, env->wall_now());
  const auto took = std::chrono::duration_cast<milliseconds>(self->clock().now() - began);
  env->report->webhook_delivery(v.what == verdict::kind::taken);
  if (auto* p = find(key, serial); p != nullptr && p->at) {
    const auto before = p->at->bytes();
    const bool was_open = p->at->circuit_open();
    p->at->settle(event, v, took, env->wall_now(), env->random());
    bytes -= std::min(bytes, before - std::min(before, p->at->bytes()));
    if (p->at->circuit_open() != was_open)
      env->report->log(was_open ? log_level::info : log_level::warning, was_open ? "deliverer closes a circuit" : "deliverer opens a circuit",
                       {{"tenant", to_string(key.tenant)}, {"webhook", to_string(key.webhook)}, {"reason", v.error}});
    serve(key);
    if (stopping) touched(key, *p);
  }
  // Who waited longest for a place has it.
  while (!starved.empty() && under_way.size() < limits::webhook_requests && !stopping) {
    const auto next = starved.front();
    starved.pop_front();
    if (const auto waiting = places.find(next); waiting != places.end()) {
      waiting->second.waits_for_turn = false;
      serve(next);
    }
  }
  next_reader();
  end_if_done();
}

/// Gives up requests that began at this time or earlier.
void deliverer_state::interrupt(mono_time began_until) {
  for (auto at = under_way.begin(); at != under_way.end() && at->second.began <= began_until;) {  // numbers grow with time
    const auto r = std::move(at->second);
    at = under_way.erase(at);
    if (auto* p = find(r.key, r.serial); p != nullptr && p->at) {
      p->at->interrupted(r.event, std::chrono::duration_cast<milliseconds>(self->clock().now() - r.began), env->wall_now());
      touched(r.key, *p);
    }
  }
}

}  // namespace mailherd::actors
