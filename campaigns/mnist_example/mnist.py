"""Train the example's CNN and save it as mnist_model.h5 in the current folder."""

import logging

from data import load_mnist

from injecttf2 import device

device.load()  # TensorFlow without its messages

import keras  # noqa: E402
import tensorflow as tf  # noqa: E402

from injecttf2.models.digits_cnn import example_cnn  # noqa: E402

(x_train, y_train), (x_test, y_test) = load_mnist()
keras.utils.set_random_seed(0)

train_ds = tf.data.Dataset.from_tensor_slices((x_train, y_train)).shuffle(10000).batch(32)
test_ds = tf.data.Dataset.from_tensor_slices((x_test, y_test)).batch(32)

model = example_cnn()
model.compile(
    optimizer="adam", loss=keras.losses.SparseCategoricalCrossentropy(), metrics=["accuracy"]
)
print("Model architecture:")
model.summary()

model.fit(train_ds, epochs=4, shuffle=False, verbose=2)  # the data set shuffles itself
_, accuracy = model.evaluate(test_ds, verbose=0)
print(f"Accuracy on the test images: {accuracy:.4f}")

logging.getLogger("absl").setLevel("ERROR")  # Keras would rather have us save as .keras
model.save("mnist_model.h5")
print("Saved mnist_model.h5")
