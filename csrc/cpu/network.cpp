#include "../network.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <vector>

#include "activations.h"
#include "blas.h"
#include "loops.h"
#include "parallel.h"
#include "spin_barrier.h"

namespace grokrfm {

Activation activation_named(const std::string& name) {
    if (name == "quadratic") return Activation::quadratic;
    if (name == "relu") return Activation::relu;
    if (name == "hermite") return Activation::hermite;
    throw std::invalid_argument("activation: unknown name '" + name + "'");
}

namespace {

// The numbers of the step after which so many are done.
template <class T>
Step<T> step_numbers(const Training& training, std::ptrdiff_t steps) {
    const auto count = static_cast<double>(steps);
    Step<T> step;
    step.rate = static_cast<T>(training.learning_rate);
    step.decay = static_cast<T>(training.weight_decay);
    step.kept = static_cast<T>(1 - training.learning_rate * training.weight_decay);
    step.mean_share = static_cast<T>(1 - training.beta_mean);
    step.square_kept = static_cast<T>(training.beta_square);
    step.square_share = static_cast<T>(1 - training.beta_square);
    step.epsilon = static_cast<T>(training.epsilon);
    step.mean_rate =
        static_cast<T>(training.learning_rate / (1 - std::pow(training.beta_mean, count)));
    step.root_scale = static_cast<T>(1 / std::sqrt(1 - std::pow(training.beta_square, count)));
    return step;
}

// rows[i] = sum of the rows of R that input i names, (n, d)
template <class T>
void transformed_inputs(const Matrix<const T>& transform, const std::int32_t* inputs,
                        std::ptrdiff_t n, T* rows) {
    const std::ptrdiff_t d = transform.columns;
    for (std::ptrdiff_t i = 0; i < n; ++i)
        loops<T>().add_rows(transform.row(inputs[2 * i]), transform.row(inputs[2 * i + 1]), d,
                            rows + i * d);
}

// What the threads of an epoch share.
template <class T>
struct Shared {
    Shared(const Network<T>& network, const Training& training, int threads)
        : barrier(threads),
          outputs(
              static_cast<std::size_t>(2 * threads * training.batch_size * network.second.rows)) {
        if (training.agop_penalty > 0)
            slopes = zeros<T>(training.batch_size * network.first.columns);
    }
    SpinBarrier barrier;
    std::vector<T> outputs;  // of each thread's units, in this step and the last, (2, t, n, c)
    std::vector<T> slopes;   // phi'(z), (n, h), for the penalty
    // The step at which all stop if the epoch is interrupted. Thread 0 says so ahead of the barrier
    // of that step: those who are still in the step before may see it, and finish theirs.
    std::atomic<std::ptrdiff_t> end{std::numeric_limits<std::ptrdiff_t>::max()};
};

// One thread's hidden units, from `begin` on.
template <class T>
class HiddenUnits {
 public:
    HiddenUnits(const Network<T>& network, const Training& training,
                const Matrix<const T>* transform, Shared<T>& shared, int thread, int threads)
        : network_(network),
          training_(training),
          transform_(transform),
          shared_(shared),
          curvature_(visit_activation(training.activation, [](auto phi) { return phi.curvature; })),
          thread_(thread),
          threads_(threads),
          d_(network.first.rows),
          c_(network.second.rows),
          h_(network.first.columns),
          begin_(boundary(thread)),
          width_(boundary(thread + 1) - begin_) {
        const std::ptrdiff_t n = training.batch_size;
        for (auto* block : {&z_, &phi_, &dz_}) *block = zeros<T>(n * width_);
        errors_ = zeros<T>(n * c_);
        second_gradient_ = zeros<T>(c_ * width_);
        first_gradient_ = zeros<T>(d_ * width_);
        if (transform) rows_ = zeros<T>(n * d_);
        if (penalised())
            for (auto* block : {&a_, &b_, &s_}) *block = zeros<T>(width_ * h_);
    }

    // False if the epoch is to stop here.
    bool step(const std::int32_t* inputs, const std::int32_t* labels, std::ptrdiff_t n,
              std::ptrdiff_t steps) {
        if (thread_ == 0 && interrupted()) shared_.end = steps;
        forward(inputs, n, steps);
        shared_.barrier.wait();
        if (steps >= shared_.end) return false;
        sum_errors(labels, n, steps);
        // dW2 = dF' phi and dz = (dF W2) phi'(z)
        blas::row_major_gemm<T>('T', 'N', c_, width_, n, T(1), errors_.data(), c_, phi_.data(),
                                width_, T(0), second_gradient_.data(), width_);
        blas::row_major_gemm<T>('N', 'N', n, width_, c_, T(1), errors_.data(), c_,
                                network_.second.data + begin_, h_, T(0), dz_.data(), width_);
        loops<T>().times_slope(training_.activation, z_.data(), n * width_, dz_.data());
        std::fill(first_gradient_.begin(), first_gradient_.end(), T(0));
        if (penalised()) {
            add_penalty(n);
            shared_.barrier.wait();  // all have read the weights that are now to change
        }
        if (transform_)
            blas::row_major_gemm<T>('T', 'N', d_, width_, n, T(1), rows_.data(), d_, dz_.data(),
                                    width_, T(1), first_gradient_.data(), width_);
        else
            scatter(inputs, n);
        update(steps + 1);
        return true;
    }

 private:
    bool penalised() const { return training_.agop_penalty > 0; }

    // Units are dealt out in lines of the cache.
    std::ptrdiff_t boundary(int thread) const {
        constexpr auto line = static_cast<std::ptrdiff_t>(64 / sizeof(T));
        return std::min(h_, block_count(h_, line) * thread / threads_ * line);
    }

    T* outputs(std::ptrdiff_t steps, int thread) const {
        return shared_.outputs.data() + (steps % 2 * threads_ + thread) * training_.batch_size * c_;
    }

    void forward(const std::int32_t* inputs, std::ptrdiff_t n, std::ptrdiff_t steps) {
        if (transform_) {
            transformed_inputs(*transform_, inputs, n, rows_.data());
            blas::row_major_gemm<T>('N', 'N', n, width_, d_, T(1), rows_.data(), d_,
                                    network_.first.data + begin_, h_, T(0), z_.data(), width_);
        } else {
            for (std::ptrdiff_t i = 0; i < n; ++i)
                loops<T>().add_rows(network_.first.row(inputs[2 * i]) + begin_,
                                    network_.first.row(inputs[2 * i + 1]) + begin_, width_,
                                    z_.data() + i * width_);
        }
        loops<T>().activate(training_.activation, z_.data(), n * width_, phi_.data());
        if (penalised())
            for (std::ptrdiff_t i = 0; i < n; ++i)
                loops<T>().slopes_of(training_.activation, z_.data() + i * width_, width_,
                                     shared_.slopes.data() + i * h_ + begin_);
        blas::row_major_gemm<T>('N', 'T', n, c_, width_, T(1), phi_.data(), width_,
                                network_.second.data + begin_, h_, T(0), outputs(steps, thread_),
                                c_);
    }

    // dF = 2 / (n c) (F - Y); every thread sums for itself, in the same order.
    void sum_errors(const std::int32_t* labels, std::ptrdiff_t n, std::ptrdiff_t steps) {
        std::copy_n(outputs(steps, 0), n * c_, errors_.data());
        for (int thread = 1; thread < threads_; ++thread)
            loops<T>().add_row(outputs(steps, thread), n * c_, errors_.data());
        for (std::ptrdiff_t i = 0; i < n; ++i)
            errors_[static_cast<std::size_t>(i * c_ + labels[i])] -= T(1);
        loops<T>().scale_row(static_cast<T>(2.0 / static_cast<double>(n * c_)), n * c_,
                             errors_.data());
    }

    // The rows `begin` … of A, B and S, whence the gradients of the penalty in this thread's units.
    void add_penalty(std::ptrdiff_t n) {
        const auto weight = static_cast<T>(2 * training_.agop_penalty);
        const T* first = network_.first.data;
        const T* second = network_.second.data;
        const T* slopes = shared_.slopes.data();
        blas::row_major_gemm<T>('T', 'N', width_, h_, c_, T(1), second + begin_, h_, second, h_,
                                T(0), a_.data(), h_);
        blas::row_major_gemm<T>('T', 'N', width_, h_, d_, T(1), first + begin_, h_, first, h_, T(0),
                                b_.data(), h_);
        if (curvature_ != 0) {  // through z: weight / n phi'' (A o B) p
            loops<T>().multiply_entries(a_.data(), b_.data(), width_ * h_, s_.data());
            blas::row_major_gemm<T>('N', 'T', n, width_, h_,
                                    weight * static_cast<T>(curvature_ / static_cast<double>(n)),
                                    slopes, h_, s_.data(), h_, T(1), dz_.data(), width_);
        }
        blas::row_major_gemm<T>('T', 'N', width_, h_, n,
                                static_cast<T>(1.0 / static_cast<double>(n)), slopes + begin_, h_,
                                slopes, h_, T(0), s_.data(), h_);
        loops<T>().multiply_entries(b_.data(), s_.data(), width_ * h_, b_.data());
        blas::row_major_gemm<T>('N', 'T', c_, width_, h_, weight, second, h_, b_.data(), h_, T(1),
                                second_gradient_.data(), width_);
        loops<T>().multiply_entries(a_.data(), s_.data(), width_ * h_, a_.data());
        blas::row_major_gemm<T>('N', 'T', d_, width_, h_, weight, first, h_, a_.data(), h_, T(1),
                                first_gradient_.data(), width_);
    }

    // In a row of W1' at a time, what the inputs that use it add to its gradient.
    void scatter(const std::int32_t* inputs, std::ptrdiff_t n) {
        for (std::ptrdiff_t i = 0; i < 2 * n; ++i)
            loops<T>().add_row(dz_.data() + i / 2 * width_, width_,
                               first_gradient_.data() + inputs[i] * width_);
    }

    void update(std::ptrdiff_t steps) {
        const auto step = step_numbers<T>(training_, steps);
        for (std::ptrdiff_t v = 0; v < d_; ++v)
            take(step, first_gradient_.data() + v * width_, v * h_ + begin_, network_.first.data,
                 network_.first_mean, network_.first_square);
        for (std::ptrdiff_t l = 0; l < c_; ++l)
            take(step, second_gradient_.data() + l * width_, l * h_ + begin_, network_.second.data,
                 network_.second_mean, network_.second_square);
    }

    void take(const Step<T>& step, const T* gradient, std::ptrdiff_t at, T* weights, T* mean,
              T* square) const {
        if (training_.adamw)
            loops<T>().adamw_step(step, gradient, width_, weights + at, mean + at, square + at);
        else
            loops<T>().sgd_step(step, gradient, width_, weights + at);
    }

    const Network<T>& network_;
    const Training& training_;
    const Matrix<const T>* transform_;
    Shared<T>& shared_;
    const double curvature_;
    const int thread_, threads_;
    const std::ptrdiff_t d_, c_, h_, begin_, width_;
    std::vector<T> z_, phi_, dz_;                      // (n, width)
    std::vector<T> errors_;                            // (n, c)
    std::vector<T> first_gradient_, second_gradient_;  // (d, width), (c, width)
    std::vector<T> rows_;                              // transformed inputs, (n, d)
    std::vector<T> a_, b_, s_;                         // (width, h), for the penalty
};

// More threads than this gain nothing: a barrier costs as much as the work on some 32 units.
int useful_threads(std::ptrdiff_t hidden, int threads) {
    return static_cast<int>(std::clamp<std::ptrdiff_t>(threads, 1, block_count(hidden, 32)));
}

}  // namespace

template <class T>
void network_epoch(const Network<T>& network, const Training& training, ActiveIndices inputs,
                   const std::int32_t* labels, const Matrix<const T>* transform, int threads) {
    threads = useful_threads(network.first.columns, threads);
    Shared<T> shared(network, training, threads);
    std::vector<HiddenUnits<T>> units;  // all memory is taken before threads start
    for (int thread = 0; thread < threads; ++thread)
        units.emplace_back(network, training, transform, shared, thread, threads);
    run_together(threads, [&](int thread) {
        auto& own = units[static_cast<std::size_t>(thread)];
        std::ptrdiff_t steps = training.steps;
        for (std::ptrdiff_t i = 0; i < inputs.rows; i += training.batch_size, ++steps)
            if (!own.step(inputs.row(i), labels + i, std::min(training.batch_size, inputs.rows - i),
                          steps))
                return;
    });
    if (interrupted()) throw Interrupted{};
}

template <class T>
void network_outputs(Activation activation, Matrix<const T> first, Matrix<const T> second,
                     ActiveIndices inputs, const Matrix<const T>* transform, Matrix<T> out,
                     int threads) {
    const std::ptrdiff_t d = first.rows, h = first.columns, c = second.rows, block = 128;
    parallel_for(block_count(inputs.rows, block), threads, [&](std::ptrdiff_t index, int) {
        const std::ptrdiff_t i = index * block, n = std::min(block, inputs.rows - i);
        std::vector<T> z = zeros<T>(n * h), rows = zeros<T>(transform ? n * d : 0);
        if (transform) {
            transformed_inputs(*transform, inputs.row(i), n, rows.data());
            blas::row_major_gemm<T>('N', 'N', n, h, d, T(1), rows.data(), d, first.data, h, T(0),
                                    z.data(), h);
        } else {
            for (std::ptrdiff_t j = 0; j < n; ++j)
                loops<T>().add_rows(first.row(inputs.row(i + j)[0]),
                                    first.row(inputs.row(i + j)[1]), h, z.data() + j * h);
        }
        loops<T>().activate(activation, z.data(), n * h, z.data());
        blas::row_major_gemm<T>('N', 'T', n, c, h, T(1), z.data(), h, second.data, h, T(0),
                                out.row(i), c);
    });
}

#define GROKRFM_INSTANTIATE(T)                                                                    \
    template void network_epoch<T>(const Network<T>&, const Training&, ActiveIndices,             \
                                   const std::int32_t*, const Matrix<const T>*, int);             \
    template void network_outputs<T>(Activation, Matrix<const T>, Matrix<const T>, ActiveIndices, \
                                     const Matrix<const T>*, Matrix<T>, int);
GROKRFM_INSTANTIATE(float)
GROKRFM_INSTANTIATE(double)
#undef GROKRFM_INSTANTIATE

}  // namespace grokrfm
