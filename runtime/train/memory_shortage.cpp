#include "runtime/train/memory_shortage.hpp"

#include "kernels/system_memory.hpp"
#include "runtime/formats/durable_write.hpp"
#include "runtime/words/input_error.hpp"

#include <c10/core/CachingDeviceAllocator.h>
#include <c10/util/Exception.h>
#include <dnnl.hpp>

#include <fstream>
#include <new>
#include <string_view>
#include <utility>

namespace millrace::train {
namespace {

/// "123 bytes", "1.50 GiB": LibTorch says it behind these words.
std::string amount_in(std::string_view text) {
  constexpr std::string_view words = "ried to allocate ";
  const auto at = text.find(words);
  if (at == text.npos)
    return "";
  text.remove_prefix(at + words.size());
  const auto number = text.find(' ');
  return std::string(text.substr(0, number == text.npos ? number : text.find_first_of(" .,\n", number + 1)));
}

std::filesystem::path bound_file(const std::filesystem::path& folder) {
  return folder / "memory_bound";
}

/// Where the first sequence of a micro-batch stands.
std::string place_of(const micro_batch& batch, const memory_bound::tried& what) {
  const auto& part = batch.parts.front();
  const auto group = "group " + std::to_string(what.groups[part.group].id);
  return what.whole_groups ? group : group + ", answer " + std::to_string(part.first_answer);
}

std::string in_brackets(const memory_ran_out& why) {
  return why.wanted.empty() ? "" : " (" + why.wanted + " more were wanted)";
}

} // namespace

std::optional<std::string> memory_wanted(const std::exception& failure) {
  if (dynamic_cast<const std::bad_alloc*>(&failure))
    return "";
  if (const auto* product = dynamic_cast<const dnnl::error*>(&failure))
    // oneDNN says "runtime error" where the system has no memory for the code that it makes.
    return product->status == dnnl_out_of_memory || product->status == dnnl_runtime_error
               ? std::optional<std::string>("")
               : std::nullopt;
  const auto* error = dynamic_cast<const c10::Error*>(&failure);
  if (!error)
    return std::nullopt;
  const std::string text = error->what_without_backtrace();
  constexpr std::string_view of_cpu = "DefaultCPUAllocator: can't allocate memory",
                             of_cublas = "CUBLAS_STATUS_ALLOC_FAILED";
  if (dynamic_cast<const c10::OutOfMemoryError*>(error) || text.find(of_cpu) != text.npos
      || text.find(of_cublas) != text.npos)
    return amount_in(text);
  return std::nullopt;
}

void give_memory_back(at::Device device) {
  if (!device.is_cpu())
    c10::getDeviceAllocator(device.type())->emptyCache();
  kernels::spare_memory::of_process().give_back();
  kernels::trim_heap();
}

void memory_bound::tighten(const memory_ran_out& why, const tried& what) {
  const micro_batch& batch = *what.batches.at(why.task);
  const auto note = [&](const std::string& done) {
    ++lesson_.times;
    lesson_.line += (lesson_.line.empty() ? "" : "; ")
                    + ("memory ran out over a micro-batch of " + std::to_string(batch.fed_tokens)) + " tokens"
                    + in_brackets(why) + ": from now on " + done;
  };
  if (std::exchange(at_once_, 1) > 1)
    return note("micro-batches are computed one after another, to the same bits");
  if (what.goes_back && activations_ == model::activations::kept) {
    activations_ = model::activations::recomputed;
    return note("blocks are computed again for the gradient, as with activation_checkpointing, to the same bits");
  }
  const bool one = what.whole_groups ? batch.parts.size() == 1 : batch.answers == 1;
  if (!one && what.may_cut) {
    tokens_ = batch.fed_tokens / 2;
    return note("one is fed " + std::to_string(tokens_) + " at most, of micro_batch_tokens = " + std::to_string(option_)
                + ", so gradients are added up in another order");
  }
  throw too_large("memory ran out over " + place_of(batch, what) + ": " + std::to_string(batch.fed_tokens)
                  + " tokens fed" + in_brackets(why)
                  + (one ? " in a micro-batch of its own" : " in a micro-batch that the run did not cut")
                  + ", with blocks computed again for the gradient; want shorter prompts and answers "
                    "(max_new_tokens), more ranks that share parameters out (shard = \"full\"), an adapter "
                    "(lora), or more memory");
}

void memory_bound::save(const std::filesystem::path& folder) const {
  if (tokens_ < option_)
    formats::write_new_file(bound_file(folder), std::to_string(option_) + ' ' + std::to_string(tokens_) + '\n');
}

void memory_bound::load(const std::filesystem::path& folder) {
  if (!std::filesystem::exists(bound_file(folder)))
    return;
  std::ifstream file(bound_file(folder));
  std::int64_t option = 0, tokens = 0;
  if (!(file >> option >> tokens) || tokens < 1 || tokens >= option)
    throw input_error(bound_file(folder).string()
                      + ": damaged, want micro_batch_tokens and what a micro-batch is fed at most");
  if (option == option_)
    tokens_ = tokens;
}

} // namespace millrace::train
