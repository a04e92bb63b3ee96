// tests/fuzz: any bytes as a message: texts that can be stored, indexes that agree, limits that hold.
#include "core/limits.hpp"
#include "protocol/mime/automatic.hpp"
#include "protocol/mime/html.hpp"
#include "protocol/mime/mime.hpp"
#include "tests/fuzz/fuzz.hpp"

using namespace mailherd;
using fuzz::require;

namespace {

void check(const envelope& e) {
  for (const auto* list : {&e.from, &e.to, &e.cc}) {
    require(list->size() <= limits::envelope_addresses, "addresses are bounded");
    for (const auto& a : *list) require(fuzz::is_clean(a.name) && fuzz::is_clean(a.address), "an address can be stored");
  }
  require(fuzz::is_clean(e.subject) && fuzz::is_clean(e.message_id), "the envelope can be stored");
  for (const auto* list : {&e.in_reply_to, &e.references}) {
    require(list->size() <= limits::envelope_references, "references are bounded");
    for (const auto& id : *list) require(fuzz::is_clean(id) && !id.empty(), "an id can be stored");
  }
  for (const auto& note : e.notes) require(fuzz::is_clean(note), "a note can be shown");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view raw(reinterpret_cast<const char*>(data), size);
  const auto end = mime::header_end(raw);
  require(end <= raw.size(), "the header ends within the message");
  check(mime::parse_envelope(raw));

  const auto c = mime::parse_content(raw);
  require(fuzz::is_clean(c.text) && fuzz::is_clean(c.html), "a text can be stored");
  require(c.text.size() <= limits::mime_text_bytes && c.html.size() <= limits::mime_text_bytes, "a text is bounded");
  require(c.attachments.size() <= limits::mime_parts, "parts are bounded");
  for (const auto& note : c.notes) require(fuzz::is_clean(note), "a note can be shown");
  const auto safe = mime::safe_html(std::string_view(raw).substr(0, 64 * limits::kib), [](std::string_view) { return std::optional<std::string>("/x"); });
  if (safe)
    for (const std::string_view evil : {"<script", "<style", "<svg", "<iframe", "<form", "<meta", "<!"})
      require(safe->find(evil) == std::string::npos, "nothing that acts");
  std::string together;
  for (const auto& piece : mime::split_reply(c.text)) together += piece.text;
  require(together == c.text, "the pieces are the text");
  require(mime::classify(raw).reason.size() <= 2 * limits::server_text_bytes, "a reason is short");
  mime::delivery_report(c.delivery_status);
  for (std::size_t i = 0; i < c.attachments.size(); ++i) {
    const auto& a = c.attachments[i];
    require(a.index == i && fuzz::is_clean(a.name) && fuzz::is_clean(a.type) && fuzz::is_clean(a.content_id), "an attachment can be shown");
    require(a.name.find_first_of("/\\") == std::string::npos, "a name is no path");
    if (i >= 3) continue;
    const auto bytes = mime::attachment(raw, i);
    require(bytes && bytes->size() == a.size, "what is listed can be fetched");
  }
  require(!mime::attachment(raw, c.attachments.size()), "what is not listed cannot");
  return 0;
}
