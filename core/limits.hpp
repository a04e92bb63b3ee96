// core/limits: every bound against a hostile or broken peer, and every number of the run-time plan, in one place.
//
// Owns:   named constants with unit, default, the attack or accident each one stops, and the error it gives.
// Never:  is repeated elsewhere: code names the constant. Relations between numbers are static_asserts at the end.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/clock.hpp"

namespace mailherd::limits {

constexpr std::size_t kib = 1024;
constexpr std::size_t mib = 1024 * kib;

// ---- mail protocols (each past its limit: failure::limit_exceeded, or protocol_violation before login) -----------------------

/// One IMAP response line without its literals. Stops a line that never ends. Large enough for a FETCH with long flag lists.
constexpr std::size_t imap_line_bytes = 64 * kib;
/// The literals of one response that are not FETCH bodies (mailbox names, envelopes), together: they are held in memory.
constexpr std::size_t imap_small_literal_bytes = 64 * kib;
/// A FETCH body literal. A server may announce anything; what is past this is refused before a byte of it is stored.
constexpr std::uint64_t imap_body_literal_bytes = 512 * mib;
/// Nesting of parenthesised lists. Stops stack exhaustion by "((((...".
constexpr std::size_t imap_nesting = 64;
/// Literals in one response. Stops a response made of endless empty literals.
constexpr std::size_t imap_literals_per_response = 64;
/// What the bytes of one read may grow to under COMPRESS=DEFLATE. Stops kilobytes that unpack into gigabytes and hold a network thread.
constexpr std::size_t imap_inflated_bytes = 64 * mib;
/// Engine output not yet taken by the session. Stops a server that makes us answer without reading.
constexpr std::size_t engine_output_bytes = 256 * kib;
/// One POP3 status or listing line (RFC 1939 says 512, RFC 2449 raises it; servers exceed it).
constexpr std::size_t pop3_line_bytes = 8 * kib;
/// Entries of one UIDL/LIST answer or of one IMAP listing slice.
constexpr std::size_t listing_entries = 2'000'000;
/// One SASL challenge, decoded.
constexpr std::size_t sasl_challenge_bytes = 16 * kib;
/// SCRAM iterations a server may ask for: fewer lets an eavesdropper guess the password, more burns our CPU for every login.
constexpr unsigned scram_iterations_min = 4'096;
constexpr unsigned scram_iterations_max = 600'000;
/// Text of a server shown to people or stored, after cleaning.
constexpr std::size_t server_text_bytes = 512;

// ---- messages ------------------------------------------------------------------------------------------------------------------

/// A larger message is recorded with its size and without its body (configurable per tenant).
constexpr std::uint64_t message_bytes = 256 * mib;
/// A message up to this size travels in one piece; a larger one is stored in chunks while it is still arriving.
constexpr std::size_t inline_message_bytes = 1 * mib;
/// One chunk of a large message.
constexpr std::size_t chunk_bytes = 512 * kib;
/// Header block that is parsed for the envelope. What follows is kept in the raw message and ignored by the parser.
constexpr std::size_t header_parse_bytes = 256 * kib;
/// One header field of the envelope, its addresses, its references, and the encoded words of a whole envelope: past these the rest is left
/// out or left as it is. Keeps a hostile header from holding a network thread (a word in an unusual character set costs 30 µs).
constexpr std::size_t header_field_bytes = 64 * kib;
constexpr std::size_t envelope_addresses = 1'000;
constexpr std::size_t envelope_references = 200;
constexpr std::size_t envelope_encoded_words = 500;
/// MIME parts of one message that are described. Stops multipart bombs.
constexpr std::size_t mime_parts = 1'000;
/// Nesting of MIME parts that is followed.
constexpr std::size_t mime_depth = 32;
/// Lines that may be boundaries ("--...") of which a message is parsed. Stops millions of empty parts, each of which costs 1 KB of memory.
constexpr std::size_t mime_boundary_lines = 50'000;
/// Header lines of all parts of a message together, and colons in one address or parameter field: the parser's memory and stack.
constexpr std::size_t mime_header_lines = 50'000;
constexpr std::size_t mime_field_colons = 500;
/// Text or HTML body returned decoded.
constexpr std::size_t mime_text_bytes = 4 * mib;
/// What of a delivery report's machine-readable part is read: a block of a few hundred bytes for each recipient.
constexpr std::size_t mime_report_bytes = 256 * kib;
/// HTML that is made safe to show (a larger one has no safe form), elements open at once in it, and what it may grow to: escaping makes text
/// longer, and what was nested for ever would stay so.
constexpr std::size_t html_safe_input_bytes = 2 * mib;
constexpr std::size_t html_safe_depth = 128;
constexpr std::size_t html_safe_output_bytes = 4 * mib;
/// End tags of such HTML times elements open at once: for each of the former a parser looks through the latter (up to 25 ns each). Beyond it
/// there is no safe form.
constexpr std::size_t html_safe_work = 10'000'000;
/// One attribute of an element (an inline image may be a data: URL).
constexpr std::size_t html_attribute_bytes = 256 * kib;
/// Header fields looked at to tell what kind of mail it is.
constexpr std::size_t classify_fields = 1'000;

// ---- HTTP ----------------------------------------------------------------------------------------------------------------------

/// Body of a request to the API.
constexpr std::size_t api_body_bytes = 1 * mib;
/// Connections to the API at once. Stops a client that opens sockets until the node has none left (503).
constexpr std::size_t api_connections = 1'024;
/// Request line and header of a request to the API (431), and objects inside each other in its JSON (400: the parser's stack).
constexpr std::size_t api_header_bytes = 16 * kib;
constexpr std::size_t api_json_depth = 16;
/// A client that sends its header, or one piece of a body, slower than this is cut off. Stops slow clients from holding connections.
constexpr seconds api_header_timeout{20};
constexpr seconds api_stall_timeout{30};
/// Between two requests of one connection.
constexpr seconds api_idle_timeout{75};
/// Requests under way when the node stops.
constexpr seconds api_stop_grace{5};
/// A request's job that has not started by then is answered with 503.
constexpr seconds api_job_deadline{15};
/// Items of one page, and what is given without `limit`.
constexpr std::size_t api_page_items = 1'000;
constexpr std::size_t api_page_default = 100;
/// The longest wait of a reader of the feed, and how often he looks even if nobody wakes him.
constexpr seconds api_feed_wait{60};
constexpr seconds api_feed_recheck{5};
/// Readers who follow a feed as server-sent events (503), messages of one look, a sign of life when nothing comes (proxies cut silent connections), and
/// the longest life of one connection: the client comes back with the id of its last event.
constexpr std::size_t api_feed_streams = 256;
constexpr std::size_t api_feed_stream_page = 200;
constexpr seconds api_feed_beat{15};
constexpr seconds api_feed_stream_life{3600};
/// A message held in memory to be taken apart (a larger one is shown by its first part), and all of them together (503).
constexpr std::size_t api_parse_bytes = 48 * mib;
constexpr std::size_t api_parse_budget_bytes = 96 * mib;
/// Part of a raw message held in memory while a client reads it, and clients doing so at once (503). Stops slow readers from filling memory.
constexpr std::size_t api_stream_window_bytes = 2 * mib;
constexpr std::size_t api_streams = 64;
/// Work waiting for the background thread (503).
constexpr std::size_t api_background_jobs = 256;
/// API keys whose check is remembered, and for how long: a revoked key works at most this much longer on another node.
constexpr std::size_t api_key_cache = 10'000;
constexpr seconds api_key_cache_life{5};

/// The console: how long a sign-in lasts, and how long it lasts unused.
constexpr seconds console_session_life{12 * 3600};
constexpr seconds console_session_idle{2 * 3600};
/// Wrong tokens that one address may try in this time, and all addresses together, before they are told to wait (429). Stops guessing.
constexpr unsigned console_attempts = 10;
constexpr unsigned console_attempts_in_all = 300;
constexpr seconds console_attempts_window{300};
/// Followers of what happens to channels at once (503), what one of them may have waiting before it is told to look at everything, the pause that
/// gathers news, the sign of life, and how long one answer lasts: then the client comes again, and is asked who it is.
constexpr std::size_t live_streams = 256;
constexpr std::size_t live_news = 200;
constexpr milliseconds live_gather{150};
constexpr seconds live_heartbeat{15};
constexpr seconds live_life{600};
/// Channels that need a person in one answer, and messages that one answer of a channel's activity counts.
constexpr std::size_t overview_channels = 200;
constexpr std::size_t activity_messages = 20'000;

/// Body of an answer of a token endpoint.
constexpr std::size_t token_reply_bytes = 256 * kib;
/// Life of an access token as announced is held within these: 0 would make us refresh in a circle, years would hide a revocation.
constexpr seconds token_lifetime_min{60};
constexpr seconds token_lifetime_max{24 * 3600};
/// Life of an access token whose provider names none.
constexpr seconds token_lifetime_default{30 * 60};
/// A Retry-After further away than this is a mistake or an attack on the channel.
constexpr seconds retry_after_max{24 * 3600};
/// Life of a signed client assertion.
constexpr seconds assertion_lifetime{300};
/// An id_token, and the keys of one provider: more is not what a provider needs, and each key costs a parse.
constexpr std::size_t id_token_bytes = 32 * kib;
constexpr std::size_t signing_keys = 64;
/// How far the provider's clock may be from ours.
constexpr seconds id_token_skew{300};
/// What providers say of themselves (endpoints, keys) is asked again after this long; a key that is not known, at most so often; and providers
/// remembered: stops apps with invented addresses from filling memory.
constexpr seconds provider_facts_life{3600};
constexpr seconds provider_keys_pause{60};
constexpr std::size_t providers_remembered = 1'000;
/// A person has this long for a consent in the browser, and a mailbox's owner for the link that was sent to him: what an administrator may choose.
constexpr seconds consent_life{15 * 60};
constexpr seconds consent_link_life{3 * 24 * 3600};
constexpr seconds consent_link_life_min{300};
constexpr seconds consent_link_life_max{14 * 24 * 3600};
/// From the browser's return to its page: code, keys, store.
constexpr seconds consent_deadline{40};
/// Consents that may be open for one channel; past it the oldest gives way. Stops a caller that only ever begins.
constexpr std::size_t consents_open = 20;
/// Device codes that one node asks about at once (store_busy).
constexpr std::size_t device_flows = 1'000;

// ---- network -------------------------------------------------------------------------------------------------------------------

/// Shared read buffer of one network thread, and so the most one read can bring.
constexpr std::size_t read_buffer_bytes = 128 * kib;
/// Bytes read from one connection before the others of its thread have their turn. Stops one fast server from starving the rest.
constexpr std::size_t read_turn_bytes = 512 * kib;
/// Bytes queued and not yet taken by the kernel. Stops a peer that never reads (limit_exceeded, and the connection ends).
constexpr std::size_t write_queue_bytes = 4 * mib;
/// Addresses of one name that are tried. Stops a zone with a thousand addresses.
constexpr std::size_t addresses_per_name = 8;
/// Names remembered by the resolver, lookups waiting for a thread, and threads that may hang in the system's resolver.
constexpr std::size_t dns_names = 10'000;
constexpr std::size_t dns_waiting = 20'000;
constexpr unsigned dns_threads = 16;
/// Life of a good answer, of a bad one, and for how long an old good answer may stand in while the resolver fails.
constexpr seconds dns_ttl{45};
constexpr seconds dns_negative_ttl{5};
constexpr seconds dns_stale{3600};
/// Before the name of a target behind a proxy is looked up in vain the proxy may resolve it alone.
constexpr seconds dns_behind_proxy{4};
/// Between two connection attempts to addresses of one name (RFC 8305, 5).
constexpr milliseconds next_address_delay{250};
/// Head of a proxy's answer to CONNECT. Stops a proxy that never ends its headers.
constexpr std::size_t proxy_head_bytes = 8 * kib;
/// TLS sessions kept for resumption (about 2 KB each): of all servers, of one (no more connections to it are opened at once), and the largest
/// that is kept.
constexpr std::size_t tls_sessions = 20'000;
constexpr std::size_t tls_sessions_of_server = 64;
constexpr std::size_t tls_session_bytes = 16 * kib;
/// An orderly close may take this long.
constexpr seconds close_deadline{2};
/// HTTP requests under way on one network thread, and waiting there (past it: limit_exceeded).
constexpr std::size_t http_active = 64;
constexpr std::size_t http_waiting = 4'096;
/// Webhook requests under way on one network thread: a client of their own, so that receivers which hang never hold a token endpoint's turn.
constexpr std::size_t webhook_http_active = 512;
/// Header lines of one HTTP answer together.
constexpr std::size_t http_head_bytes = 64 * kib;
/// Redirects followed for one request. Stops a circle.
constexpr unsigned http_redirects = 5;

// ---- webhooks ------------------------------------------------------------------------------------------------------------------

/// Endpoints of one tenant (409). Stops a tenant from making the node call a thousand receivers for each of its messages.
constexpr std::size_t webhooks_per_tenant = 100;
/// Requests under way at one endpoint, at most; and when it is not told otherwise.
constexpr unsigned webhook_in_flight_max = 64;
constexpr unsigned webhook_in_flight = 8;
/// Requests under way from one node; and at an endpoint that has just failed: receivers that hang hold few places.
constexpr std::size_t webhook_requests = 512;
constexpr unsigned webhook_in_flight_suspect = 2;
/// Events of one endpoint read ahead of their delivery, those read with one statement, and those whose mail must be read as well.
constexpr std::size_t webhook_window_events = 512;
constexpr std::size_t webhook_load_events = 256;
constexpr std::size_t webhook_load_bodies = 16;
/// Bytes of events in memory, of all endpoints; loads from the database under way at once (they share its workers with the mail).
constexpr std::size_t webhook_window_bytes = 64 * mib;
constexpr unsigned webhook_loads = 2;
/// Raw mail of one load that waits to be taken apart: with so much the load ends, the rest comes with the next.
constexpr std::size_t webhook_load_bytes = 8 * mib;
/// A raw message that may travel inside a webhook, at most; and when the endpoint is not told otherwise.
constexpr std::int64_t webhook_raw_bytes_max = 8 * mib;
constexpr std::int64_t webhook_raw_bytes = 256 * kib;
/// Part of a message that is taken apart for a webhook with text; what of request and answer is kept for people.
constexpr std::size_t webhook_parse_bytes = 4 * mib;
constexpr std::size_t webhook_excerpt_bytes = 1 * kib;
/// Attempts noted per endpoint and write of its progress: people see a sample, not a second feed.
constexpr std::size_t webhook_notes = 8;
/// One attempt. A receiver that needs longer should take first and work afterwards.
constexpr seconds webhook_deadline{20};
/// Failures in a row after which the endpoint's circuit opens; the longest wait between two attempts; when an event is given up.
constexpr unsigned webhook_circuit_failures = 5;
constexpr seconds webhook_backoff_first{5};
constexpr seconds webhook_backoff_max{3600};
constexpr seconds webhook_give_up{3 * 24 * 3600};
/// How long the older of two secrets signs too, at most.
constexpr seconds webhook_old_secret_life{24 * 3600};
/// A deliverer's life unless renewed; its round (renew, claim, look for work); between two writes of progress.
constexpr seconds deliverer_ttl{15};
constexpr seconds deliverer_round{2};
constexpr milliseconds deliverer_save{150};
/// Samples of attempts, and changes of state not yet told, are kept this long.
constexpr std::int64_t webhook_sample_days = 3;
constexpr std::int64_t channel_state_days = 14;

// ---- many nodes: shares and handovers -----------------------------------------------------------------------------------------

/// Channels of one node on their way to others at once, and of the whole cluster when only for balance: each is a sign-in at its mail server.
constexpr std::size_t handovers_at_once = 256;
constexpr std::size_t rebalance_at_once = 64;
/// From the wish to its answer, and from there to the commit boundary: what takes longer is given up, and the owner goes on serving.
constexpr seconds handover_deadline{50};
constexpr seconds yield_deadline{20};
/// A stopping node that its database does not answer for so long hands nothing over and gives nothing back: its lease runs out by itself.
constexpr seconds unheard_at_end{2};
/// A node told to drain gives back what it could not hand over in this time.
constexpr seconds drain_patience{120};
/// Free channels that nobody's share covers are taken by whoever looks after this long: shares are rounded, and counted from rows a little old.
constexpr seconds claim_overdue{6};
/// Nodes that come and go (a restart, a rolling upgrade) move no channel for balance's sake before it has been quiet for this long.
constexpr seconds rebalance_settle{60};

// ---- memory and queues of one node ---------------------------------------------------------------------------------------------

/// Message bytes that all channels of the node together may have fetched and not yet stored.
constexpr std::size_t fetch_budget_bytes = 24 * mib;
/// Message bytes one FETCH batch aims at, and its count.
constexpr std::size_t fetch_batch_bytes = 1 * mib;
constexpr std::size_t fetch_batch_messages = 100;
/// FETCH commands in flight in one session.
constexpr unsigned fetch_in_flight = 3;
/// RETR commands in flight in one POP3 session that offers PIPELINING.
constexpr unsigned pop3_in_flight = 32;
/// Commit units waiting in the storage gate; past it the gate answers store_busy.
constexpr std::size_t gate_units = 4'096;
/// Message bytes and messages grouped into one transaction over many channels.
constexpr std::size_t commit_group_bytes = 4 * mib;
constexpr std::size_t commit_group_messages = 500;
/// Bodies of one unit from this size on are written ahead of its commit: what arrives one by one is stored with one transaction, what comes in masses
/// does not hold its mailbox up for as long as it takes to write it. And how many units' bodies are under way at once.
constexpr std::size_t write_ahead_bytes = 256 * kib;
constexpr unsigned write_ahead_flights = 2;
/// Transactions of the storage gate under way at once: one is written while the next is prepared.
constexpr unsigned gate_flights = 2;
/// Signs of life of healthy channels, collected before one statement writes them (the latest per channel), and its rows.
constexpr std::size_t gate_signs = 200'000;
constexpr std::size_t gate_signs_statement = 2'000;
/// Requests that wait for one channel's access token. Stops a defect upstream from filling memory (token_unavailable).
constexpr std::size_t token_waiting = 64;
/// Channels claimed with one statement.
constexpr std::size_t lease_claim_channels = 256;
/// Jobs waiting for a storage worker.
constexpr std::size_t store_jobs = 8'192;
/// Log lines waiting for the thread that writes them; past it the oldest is dropped and counted. Stops a slow disk from holding actors.
constexpr std::size_t log_lines = 2'048;
/// Tenants that have metrics of their own; the rest share tenant="other". Stops tenants from filling the node's memory and Prometheus.
constexpr std::size_t metric_tenants = 10'000;
/// A configuration file, and a file that holds a token or keys.
constexpr std::size_t config_file_bytes = 1 * mib;
constexpr std::size_t secret_file_bytes = 64 * kib;

// ---- times ---------------------------------------------------------------------------------------------------------------------

/// DNS + TCP + TLS + greeting + authentication + select: one attempt, one deadline.
constexpr seconds attempt_deadline{45};
/// A command that moves no data.
constexpr seconds command_deadline{60};
/// A transfer that makes no progress at all for this long is dead.
constexpr seconds stall_deadline{120};
/// IDLE is ended and begun again after this long (RFC 2177 names 29 minutes; NAT boxes forget earlier).
constexpr seconds idle_restart{9 * 60};
/// Even when IDLE looks healthy the mailbox is asked this often: servers that never notify exist.
constexpr seconds idle_safety_poll{9 * 60};
/// Servers may end an idle session after 30 minutes (RFC 3501, 5.4).
constexpr seconds server_idle_limit{30 * 60};
/// Between two looks into a POP3 maildrop, or into an IMAP mailbox without IDLE.
constexpr seconds poll_interval{60};
/// Tries of one message before it is set aside.
constexpr unsigned message_tries = 3;
/// An access token is renewed this long before it expires.
constexpr seconds token_renew_ahead{300};
/// One request to a token endpoint.
constexpr seconds token_deadline{30};
/// A grant that is being renewed is nobody else's for so long. Longer than one exchange with the token endpoint takes.
constexpr seconds token_hold{40};
static_assert(token_hold > token_deadline);
/// After an answer that only an administrator can change the endpoint is asked again this seldom.
constexpr seconds token_blocked_retry{15 * 60};
/// Lease of a node incarnation, and how often it is renewed; what an operator may choose instead.
constexpr seconds lease_ttl{15};
constexpr seconds lease_renew{4};
constexpr seconds lease_ttl_min{3};
constexpr seconds lease_ttl_max{600};
/// A commit handed to the storage gate is dropped when it has not started by then.
constexpr seconds commit_deadline{60};
/// Signs of life are written this long after the first of them.
constexpr seconds gate_sign_delay{5};
/// A fetcher that is told to end orderly (handover, stop) and one whose lease may end elsewhere soon are killed after this long.
constexpr seconds fetcher_stop_grace{10};
constexpr seconds fetcher_lost_grace{2};
/// A fetcher that breaks is restarted at most this often in this time; after that only every `restart_pause`.
constexpr unsigned restarts = 8;
constexpr seconds restarts_window{3600};
constexpr seconds restart_pause{300};
/// What a stopping node has to hand over its channels (within a pod's 30 s), and what all the rest of its end may take after that.
constexpr seconds stop_grace{25};
constexpr seconds stop_rest{20};
/// A node told twice to stop ends its own database within this, and itself.
constexpr seconds stop_at_once{5};
/// Between two tries of a database that is away at the start; between two readings of the gauges that come from it; its housekeeping.
constexpr seconds database_retry{5};
constexpr seconds gauges_interval{15};
constexpr seconds sweep_interval{3600};
/// Between two rounds of the watchdog.
constexpr seconds watchdog_round{60};
/// A channel without progress for this long is restarted by the watchdog.
constexpr seconds watchdog_no_progress{20 * 60};

static_assert(idle_restart < server_idle_limit, "IDLE must be renewed before the server's limit");
static_assert(3 * lease_renew < lease_ttl, "two renewals may be lost without losing the lease");
static_assert(fetcher_lost_grace < lease_renew, "a node that cannot renew must have ended its fetchers before its lease ends elsewhere");
static_assert(watchdog_no_progress > 2 * idle_safety_poll, "a healthy idle channel must never look stuck");
static_assert(attempt_deadline < server_idle_limit);
static_assert(3 * deliverer_round < deliverer_ttl, "two rounds may be lost without losing the endpoints");
static_assert(webhook_requests <= webhook_http_active, "deliveries wait in the deliverer, which is fair, never in the HTTP client");
static_assert(handover_deadline < command_deadline, "a standby's session lives until its handover has come to an end");
static_assert(chunk_bytes <= inline_message_bytes && fetch_batch_bytes <= fetch_budget_bytes / 8, "one channel must not hold the budget");

}  // namespace mailherd::limits
