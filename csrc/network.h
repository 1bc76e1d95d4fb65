// Networks f(x) = W2 phi(W1 x) without bias on pairs x = e_u + e_v, trained by minibatches.
//
// The first layer is two look-ups, z = W1'[u] + W1'[v], and its gradient a scatter: W1 is stored
// transposed, (d, h), so that both touch contiguous rows. With rows X = (inputs) R, R the
// transform, both become matrix products. Loss: mean of (f_c - 1[c = y])^2 over batch and classes,
// plus penalty * tr(AGOP) of the batch,
//   tr(AGOP) = 1/n sum_j |W2 diag(p_j) W1|^2 = sum_kl (A o B o S)_kl,  p_j = phi'(z_j),
//   A = W2'W2, B = W1 W1', S = 1/n sum_j p_j p_j',
// whose gradients are 2 W2 (B o S), 2 (A o S) W1 and, through z_j, (2/n) phi''(z_j) o (A o B) p_j.
//
// A step with a batch of n costs 6 n h c flops in three matrix products and one pass of the
// optimiser over the (d + c) h weights and, for AdamW, their two moments: 24 bytes moved a weight.
// At p = 61, h = 1024, n = 32: 12 MFLOP and 187k weights, 4.5 MB. The penalty adds
// 2 h^2 (2 c + 2 d + 2 n) flops.
//
// Each thread owns a range of hidden units for the whole epoch: look-ups, gradients and optimiser
// touch its own columns alone. What threads share is the sum of the outputs (n, c), one barrier a
// step; with the penalty, whose h x h matrices couple the units, two.
#pragma once

#include <string>

#include "common/views.h"

namespace grokrfm {

enum class Activation { quadratic, relu, hermite };

// ValueError in Python for an unknown name.
Activation activation_named(const std::string& name);

// W1' (d, h) and W2 (c, h); for AdamW the moments of each, else null.
template <class T>
struct Network {
    Matrix<T> first, second;
    T *first_mean = nullptr, *first_square = nullptr;
    T *second_mean = nullptr, *second_square = nullptr;
};

struct Training {
    Activation activation;
    bool adamw;  // decoupled decay and bias correction; else SGD, the decay added to the gradient
    double learning_rate, weight_decay, agop_penalty;
    double beta_mean, beta_square, epsilon;
    std::ptrdiff_t batch_size;
    std::ptrdiff_t steps;  // done before
};

// Steps through the inputs (n, 2) in the order given. transform: R (d, d), or null for one-hot
// inputs.
template <class T>
void network_epoch(const Network<T>& network, const Training& training, ActiveIndices inputs,
                   const std::int32_t* labels, const Matrix<const T>* transform, int threads);

// out (n, c) = the outputs on the inputs (n, 2).
template <class T>
void network_outputs(Activation activation, Matrix<const T> first, Matrix<const T> second,
                     ActiveIndices inputs, const Matrix<const T>* transform, Matrix<T> out,
                     int threads);

}  // namespace grokrfm
