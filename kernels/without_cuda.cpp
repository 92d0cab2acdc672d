// A build without MILLRACE_CUDA: what calls the kernels of a GPU links, and is told if it gets that far.

#include "kernels/cached_attention.hpp"
#include "kernels/rms_norm.hpp"
#include "kernels/rope.hpp"
#include "kernels/sample_token.hpp"
#include "kernels/swiglu.hpp"
#include "kernels/token_logprob.hpp"

#include <stdexcept>

namespace millrace::kernels {
namespace {

[[noreturn]] void refuse() {
  throw std::runtime_error("this program was built without MILLRACE_CUDA");
}

} // namespace

void append_to_cache_cuda(const cached_attention_args&, const float*, const float*, CUstream_st*) {
  refuse();
}

void cached_attention_cuda(const cached_attention_args&, CUstream_st*) {
  refuse();
}

void rms_norm_cuda(const rms_norm_args&, CUstream_st*) {
  refuse();
}

void rope_cuda(const rope_args&, CUstream_st*) {
  refuse();
}

void sample_token_cuda(const sample_token_args&, CUstream_st*) {
  refuse();
}

void swiglu_cuda(const swiglu_args&, CUstream_st*) {
  refuse();
}

void token_logprob_cuda(const token_logprob_args&, CUstream_st*) {
  refuse();
}

} // namespace millrace::kernels
