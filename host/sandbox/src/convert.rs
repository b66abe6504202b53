//! Between the contract's generated types and the model's: by value, without copying texts.

mod into_model;
mod into_wit;

use triggerbox_model::error::Error;

/// From what a script said to the model. Pure, so that it can be tested on any input.
pub(crate) trait IntoModel {
    /// The model's type.
    type Model;

    /// # Errors
    /// `invalid`, when the model has no such value.
    fn into_model(self) -> Result<Self::Model, Error>;
}

/// From the model to what a script understands.
pub(crate) trait IntoWit {
    /// The contract's type.
    type Wit;

    fn into_wit(self) -> Self::Wit;
}

impl<T: IntoModel> IntoModel for Vec<T> {
    type Model = Vec<T::Model>;

    fn into_model(self) -> Result<Self::Model, Error> {
        self.into_iter().map(T::into_model).collect()
    }
}

impl<T: IntoModel> IntoModel for Option<T> {
    type Model = Option<T::Model>;

    fn into_model(self) -> Result<Self::Model, Error> {
        self.map(T::into_model).transpose()
    }
}

impl<T: IntoWit> IntoWit for Vec<T> {
    type Wit = Vec<T::Wit>;

    fn into_wit(self) -> Self::Wit {
        self.into_iter().map(T::into_wit).collect()
    }
}

impl<T: IntoWit> IntoWit for Option<T> {
    type Wit = Option<T::Wit>;

    fn into_wit(self) -> Self::Wit {
        self.map(T::into_wit)
    }
}
